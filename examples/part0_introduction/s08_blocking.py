"""The first mistake: `time.sleep` in async code.  One at a time again: ten seconds.

The calls are joined as they should be.  But all of them run in one thread, and `time.sleep` does
not give it back: there is no `await` at which another one could go on.  Nothing is raised and
nothing is printed; the program is only as slow as if it were not async at all.

So this runs with `debug=True`: the runtime has a thread look at the loop, and when a task keeps it
for longer than a tenth of a second, a warning names the task and the line, while it still blocks.
(A program under load can turn on the same with `runtime.detect_blocking`.)  The remedy is to await
the runtime's own `sleep`, or where there is no such call, `runtime.run_in_thread(...)`.

Next: the second mistake, which blocks nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import runtime

from ..options import parser


async def foo(n: int, seconds: float) -> None:
    print(f"start {n}")
    time.sleep(seconds)  # wrong
    print(f"end {n}")


async def join(count: int, seconds: float) -> None:
    began = runtime.now()
    await runtime.join_all(foo(n, seconds) for n in range(1, count + 1))
    print(f"{runtime.now() - began:.2f} s")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    runtime.run(join(options.count, options.seconds), debug=True)


if __name__ == "__main__":
    main()
