"""The first async function: three calls, awaited one after the other, take three seconds.

Two words are new.  `async def` makes a function whose calls can be put aside half done, and
`await` marks where that may happen.  `runtime.run` is the one place where the async world is
entered; what stands behind it is the subject of everything that follows.

Nothing happens at the same time yet: to await a call is to wait for its end, so this reads, and
takes as long, as if the two words were not there.

Next: ten at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence

import runtime

from ..options import parser


async def foo(n: int, seconds: float) -> None:
    print(f"start {n}")
    await runtime.sleep(seconds)
    print(f"end {n}")


async def one_at_a_time(count: int, seconds: float) -> None:
    began = runtime.now()
    for n in range(1, count + 1):
        await foo(n, seconds)
    print(f"{runtime.now() - began:.2f} s")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=3, seconds=1.0).parse_args(argv)
    runtime.run(one_at_a_time(options.count, options.seconds))


if __name__ == "__main__":
    main()
