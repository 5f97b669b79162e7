"""Ten clients, a thread each: one second.

The same client, and it may block, since it blocks nobody but itself.  For ten, and for a few
hundred, this is the answer.  For ten thousand it is ten thousand stacks, and the kernel chooses
among as many threads: that is where this series began.

Next: one thread, and sockets that do not block.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ..options import parser
from .s01_server import serving
from .s02_clients_in_turn import client


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, clients=10, seconds=1.0).parse_args(argv)
    with serving(options.seconds) as address:
        began = time.monotonic()
        threads = [threading.Thread(target=client, args=(address,)) for _ in range(options.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main()
