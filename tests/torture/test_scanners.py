"""The TLS listeners as sslscan, which tries what no client of ours would, finds them."""

import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.server.conftest import Start
from tests.server.harness import TIMEOUT, Authority, eventually
from tests.torture.conftest import Figures

pytestmark = pytest.mark.item(14)

WEAK = ("NULL", "EXP", "RC4", "RC2", "DES", "MD5", "anon", "ADH", "AECDH", "SEED", "IDEA")


def scan(port: int, report: Path) -> ET.Element:
    done = subprocess.run(
        ["sslscan", "--no-colour", f"--xml={report}", f"127.0.0.1:{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=6 * TIMEOUT,
    )
    assert done.returncode == 0, done.stdout
    test = ET.parse(report).getroot().find("ssltest")
    assert test is not None
    return test


def faults(test: ET.Element) -> list[str]:
    """What a scan found that should not be."""
    found = []
    protocols = {
        f"{each.get('type', '').upper()}v{each.get('version')}"
        for each in test.findall("protocol")
        if each.get("enabled") == "1"
    }
    if protocols != {"TLSv1.2", "TLSv1.3"}:
        found.append(f"speaks {sorted(protocols)}")
    for element, attribute in (
        ("renegotiation", "supported"),
        ("compression", "supported"),
        ("heartbleed", "vulnerable"),
    ):
        if any(each.get(attribute) != "0" for each in test.findall(element)):
            found.append(element)
    ciphers = test.findall("cipher")
    names = [each.get("cipher", "") for each in ciphers]
    found += [f"weak cipher {name}" for name in names if any(weak in name for weak in WEAK)]
    found += [
        f"short key of {each.get('cipher')}" for each in ciphers if int(each.get("bits", "0")) < 128
    ]
    found += [
        f"costly group {name}"
        for each in test.findall("group")
        if (name := each.get("name", "")).startswith("ffdhe")
    ]
    if not names:
        found.append("no cipher at all")
    return found


@pytest.mark.skipif(shutil.which("sslscan") is None, reason="needs the sslscan command")
def test_sslscan_finds_no_fault(
    start: Start, authority: Authority, figure: Figures, tmp_path: Path
) -> None:
    server = start(authority=authority)
    found = [
        fault
        for service in ("echo-tls", "sleep-tls")
        for fault in faults(scan(server.port(service), tmp_path / "report.xml"))
    ]
    figure("faults that sslscan finds", len(found))
    assert not found
    assert eventually(server.is_idle)
    assert server.echoes()
