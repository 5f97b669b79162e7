"""Ten at the same time, in one thread: a second.  Until it is awaited, nothing runs.

To call an async function runs nothing of it.  The call makes a coroutine, which is what Rust calls
a future: something that can be done, and is not being done.  `join_all` makes one of many, in no
time, and does not start any of them either.  Only `await` does.

Threads could begin in any order.  These start in the order in which they were joined, and those
that sleep for the same time end in it, too.  A thousand are no trouble: try `--count 1000`.

Next: a thousand of those.
"""

from __future__ import annotations

from collections.abc import Sequence

import runtime

from ..options import parser
from .s05_one_at_a_time import foo


async def join(count: int, seconds: float) -> None:
    began = runtime.now()
    coroutines = [foo(n, seconds) for n in range(1, count + 1)]
    joined = runtime.join_all(coroutines)
    print(f"joined after {runtime.now() - began:.2f} s, and nothing has started")
    await joined
    print(f"{runtime.now() - began:.2f} s")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    runtime.run(join(options.count, options.seconds))


if __name__ == "__main__":
    main()
