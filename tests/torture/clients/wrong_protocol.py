"""Speaks at TLS ports as if there were no TLS, and makes TLS handshakes at plain ports.

Half of what is sent looks like TLS for its first bytes. The random bytes of a connection are those
of its number, so every run sends the same.
"""

import contextlib
import ssl
from collections import Counter
from random import Random

import runtime
from tests.torture.client import CONNECTING, main, say, source, told
from tests.torture.clients.stalls import Handshake

LONGEST = 3000

BEGINNINGS = (
    b"",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x00",
    b"\x16",
    b"\x16\x03",
    b"\x16\x03\x01\x00\x10",
    b"\x16\x03\x01\x40\x00\x01",
    b"\x15\x03\x01\x00\x02\x02\x28",
    b"\x17\x03\x03\x00\x20",
    b"\x80\x2e\x01\x00\x02",
)


def garbage(number: int) -> bytes:
    random = Random(number)
    return BEGINNINGS[number % len(BEGINNINGS)] + random.randbytes(random.randrange(LONGEST))


async def converse(stream: runtime.Stream, data: bytes) -> bytes:
    """Say all of it, then end, and hear what comes until the other side ends."""
    heard = bytearray()
    with contextlib.suppress(runtime.BrokenError):
        await stream.send_all(data)
        stream.send_eof()
        while part := await stream.recv(65536):
            heard += part
    return bytes(heard)


def is_alert(data: bytes) -> bool:
    """Whether it is nothing, or one record that says what was wrong (RFC 8446, 5.1 and 6)."""
    return not data or (data[0] == 0x15 and len(data) == 7)


def is_errors(data: bytes) -> bool:
    """Whether it is lines that say what was wrong; chance makes a number of a line in a million."""
    return all(line.startswith(b"error: ") or line.isdigit() for line in data.splitlines())


async def wrong_protocol(ports: dict[str, int], count: int) -> None:
    permits = runtime.Semaphore(CONNECTING)
    found: Counter[str] = Counter()
    context = ssl.create_default_context()

    async def one(service: str, number: int) -> None:
        async with permits:
            address = source(number)
            stream = await runtime.connect("127.0.0.1", ports[service], local_address=address)
            async with stream:
                data = garbage(number)
                if not service.endswith("tls"):
                    data = Handshake(context).go_on(b"") + data
                heard = await converse(stream, data)
        match service:
            case "echo":
                right = heard == data
            case "sleep":
                right = is_errors(heard)
            case _:
                right = is_alert(heard)
        found[f"{service}: {'right' if right else 'wrong'}"] += 1

    await runtime.join_all(one(service, number) for service in ports for number in range(count))
    say(**found)
    await told()


if __name__ == "__main__":
    main(wrong_protocol)
