"""Ten calls that take a second each, in ten threads: one second in all, not ten.

A thread runs from the moment it is started, whether or not anybody waits for it.  So all of them
make progress while we wait for the first, and by then the others are done, too.

Who starts first need not end first: the kernel decides who runs when.  It is the same in Python,
although only one thread at a time may run Python code (it must hold the global interpreter lock),
because `time.sleep` lets go of that lock, as every call does that waits for something outside.

Next: more threads, and more, until there is no more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Thread

from ..options import parser


def foo(n: int, seconds: float) -> None:
    # In one piece: print would write the end of the line by itself, and others come in between.
    print(f"start {n}\n", end="")
    time.sleep(seconds)
    print(f"end {n}\n", end="")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    began = time.monotonic()
    threads = [Thread(target=foo, args=(n, options.seconds)) for n in range(1, options.count + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main()
