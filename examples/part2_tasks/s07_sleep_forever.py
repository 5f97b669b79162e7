"""The run that ends in "sleep forever?": everybody is done, and the one who waits is not told.

The main task awaits handles.  The last `foo` ends, its handle is ready, and calls the waker of the
main task, as it must; but this loop's wakers do nothing.  The loop polls the main task first in
each turn and the others after it, so the main task cannot have seen it yet.  Then the loop wants to
sleep until the first wake time, and there is none, since everybody who slept is done.

Up to now every wait was one for time, and the loop looked at the times by itself, so nobody noticed
that the wakers did nothing.  A wake-up from task to task is the first that needs them.

Next: a waker that does something.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..options import parser
from .s02_async_def import foo
from .s05_main_task import run
from .s06_join_handle import spawn


async def join(count: int, seconds: float) -> None:
    handles = [spawn(foo(n, seconds)) for n in range(1, count + 1)]
    for handle in handles:
        await handle
    print("all joined")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    try:
        run(join(options.count, options.seconds))
    except RuntimeError as error:
        print(f"RuntimeError: {error}")


if __name__ == "__main__":
    main()
