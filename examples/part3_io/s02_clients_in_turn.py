"""Ten clients, one after the other: ten seconds, nearly all of them spent waiting.

`recv` blocks: the kernel puts the thread to sleep until bytes are there.  That costs no CPU, and it
holds up whatever else the thread might do.  It is `time.sleep` again.

Next: a thread for each client.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from ..options import parser
from .s01_server import Address, serving


def client(address: Address) -> None:
    """Print all that the server says."""
    with socket.create_connection(address) as sock:
        while data := sock.recv(1024):
            print(data.decode(), end="")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, clients=10, seconds=1.0).parse_args(argv)
    with serving(options.seconds) as address:
        began = time.monotonic()
        for _ in range(options.clients):
            client(address)
        print(f"{time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main()
