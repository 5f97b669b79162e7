"""The certificate: what a bad one gets, and how it is exchanged while connections live."""

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from server import config
from server.errors import UsageError
from server.tls import Certificate
from tests.server.harness import Authority


def load(cert: Path, key: Path | None = None) -> Certificate:
    flags = [f"--tls-cert={cert}", *([f"--tls-key={key}"] if key else [])]
    return Certificate(config.load(flags, {}, 1000)[0])


def serial_shown(certificate: Certificate, authority: Authority) -> str:
    """The serial number of what a client is shown."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    client = authority.context().wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    for _ in range(3):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = client.getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])


@pytest.fixture
def own(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_certificate_and_key_in_one_file_or_in_two(own: Authority, tmp_path: Path) -> None:
    pem = own.file.read_text()
    key, _, chain = pem.partition("-----END")
    end, _, chain = chain.partition("\n")
    (tmp_path / "key").write_text(f"{key}-----END{end}\n")
    (tmp_path / "chain").write_text(chain)
    assert serial_shown(load(own.file), own) == serial_shown(
        load(tmp_path / "chain", tmp_path / "key"), own
    )


def test_allows_neither_old_versions_nor_renegotiation(own: Authority) -> None:
    context = load(own.file).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing.*No such file.*--tls-cert and --tls-key"):
        load(tmp_path / "nothing")


def test_a_file_that_is_no_certificate_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no certificate\n")
    with pytest.raises(UsageError, match=r"cannot use the certificate: .*file"):
        load(tmp_path / "file")


def test_a_key_of_another_certificate_is_a_usage_error(own: Authority, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(UsageError, match="KEY_VALUES_MISMATCH"):
        load(own.file, Authority(other).file)


def test_an_encrypted_key_is_a_usage_error_and_no_prompt(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("127.0.0.1")
    (tmp_path / "chain").write_bytes(issued.cert_chain_pems[0].bytes())
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "key").write_bytes(encrypted)
    with pytest.raises(UsageError, match="the key is encrypted"):
        load(tmp_path / "chain", tmp_path / "key")


def test_a_reload_shows_the_new_certificate(own: Authority) -> None:
    certificate = load(own.file)
    before = serial_shown(certificate, own)
    own.renew()
    assert serial_shown(certificate, own) == before
    assert certificate.reload()
    assert serial_shown(certificate, own) != before


def test_a_reload_writes_nothing_to_the_context_that_handshakes_are_made_from(
    own: Authority,
) -> None:
    """It runs in a thread of its own, and OpenSSL would free what a handshake is copying."""
    certificate = load(own.file)
    before, in_use = serial_shown(certificate, own), certificate.context
    own.renew()
    assert certificate.reload()
    certificate.context = in_use
    assert serial_shown(certificate, own) == before


@pytest.mark.parametrize("fault", ["missing", "garbage", "mismatch"])
def test_a_reload_that_fails_leaves_the_old_one_in_use(
    own: Authority, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = load(own.file)
    before = serial_shown(certificate, own)
    if fault == "missing":
        own.file.unlink()
    elif fault == "garbage":
        own.file.write_text("nothing of use")
    else:
        # The chain of one and the key of another, as in the middle of a careless exchange.
        key = own.file.read_text().partition("-----BEGIN CERTIFICATE")[0]
        own.renew()
        chain = own.file.read_text().partition("-----BEGIN CERTIFICATE")[2]
        own.file.write_text(f"{key}-----BEGIN CERTIFICATE{chain}")
    assert not certificate.reload()
    assert serial_shown(certificate, own) == before
    (record,) = caplog.records
    assert "the old one stays in use" in record.getMessage()
