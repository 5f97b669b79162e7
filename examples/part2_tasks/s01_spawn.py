"""Spawn ten and await their handles one after the other: a second, not ten.

Awaiting ten *futures* in a loop takes ten seconds, because a future does nothing until it is
awaited.  `spawn` hands the future to the loop, which polls it whether or not anybody awaits it.
That is a task, and it makes async code like the code with threads: start all, then wait for each.

Awaiting a handle is to wait for a result, not to make something run: while we wait for the first,
the others go on, so the rest of the handles are ready when it is their turn.

Next: what stands between `async def` and a loop of our own.
"""

from __future__ import annotations

from collections.abc import Sequence

import runtime

from ..options import parser


async def foo(n: int, seconds: float) -> None:
    print(f"start {n}")
    await runtime.sleep(seconds)
    print(f"end {n}")


async def spawn_all(count: int, seconds: float) -> None:
    began = runtime.now()
    handles = [runtime.spawn(foo(n, seconds)) for n in range(1, count + 1)]
    print("spawned, and nothing has run yet")
    for handle in handles:
        await handle
    print(f"{runtime.now() - began:.2f} s")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    runtime.run(spawn_all(options.count, options.seconds))


if __name__ == "__main__":
    main()
