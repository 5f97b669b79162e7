"""The second mistake: awaiting in a loop, as threads are joined.  Ten seconds again.

A thread runs once it is started, and so a loop over `join` waits for whoever is slowest.  A
coroutine does nothing in the background.  It runs while it is awaited, up to its end, and the next
one begins when it is awaited, after that.  `join_all` awaits all of them at the same time.

This blocks nothing, so nobody else is held up, and the runtime has no part in it: to await a
coroutine is to call a function.  Still, it leaves a picture: of ten coroutines in a list some have
ended, one is under way, and the rest have not begun.  With `debug=True` the runtime looks for that
now and then and tells the line.  (What it cannot know is whether it was meant, so it says that only
when debugging.  A coroutine that is *never* awaited is another matter: Python itself warns of it.)

Next, in Part One: what a future is, and how `join_all` can await many.
"""

from __future__ import annotations

from collections.abc import Sequence

import runtime

from ..options import parser
from .s05_one_at_a_time import foo


async def await_each(count: int, seconds: float) -> None:
    began = runtime.now()
    coroutines = [foo(n, seconds) for n in range(1, count + 1)]
    for coroutine in coroutines:
        await coroutine  # wrong
    print(f"{runtime.now() - began:.2f} s")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    runtime.run(await_each(options.count, options.seconds), debug=True)


if __name__ == "__main__":
    main()
