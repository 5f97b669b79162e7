"""An async runtime from scratch: tasks, wakers, timers and a reactor, in pure Python.

>>> import runtime
>>> async def main():
...     await runtime.sleep(0.01)
...     return "done"
>>> runtime.run(main())
'done'

To read it, begin at the bottom: `task.py`, `timers.py`, `reactor.py`, and `executor.py`, which
ties the three together.  A file never imports one that stands further up in this list.
"""

from .cancel import Cancelled
from .clock import Clock, MonotonicClock
from .connect import connect, connect_unix
from .errors import BrokenError, BusyError, ClosedError
from .executor import Deadlock, spawn
from .groups import TaskGroup
from .inspect import dump_tasks
from .joining import join_all
from .listener import Listener, listen, listen_unix, serve
from .run import run
from .scopes import CancelScope, move_on_after, timeout
from .signals import Signals, signals
from .sleep import now, sleep, sleep_until, yield_now
from .stream import Stream
from .sync import Event, Semaphore
from .task import (
    PENDING,
    Future,
    JoinHandle,
    Pending,
    Ready,
    Task,
    TaskCancelled,
    Waker,
    current_task,
    current_waker,
    park,
)
from .threads import run_in_thread
from .watchdog import Watchdog, detect_blocking

__all__ = [
    "PENDING",
    "BrokenError",
    "BusyError",
    "CancelScope",
    "Cancelled",
    "Clock",
    "ClosedError",
    "Deadlock",
    "Event",
    "Future",
    "JoinHandle",
    "Listener",
    "MonotonicClock",
    "Pending",
    "Ready",
    "Semaphore",
    "Signals",
    "Stream",
    "Task",
    "TaskCancelled",
    "TaskGroup",
    "Waker",
    "Watchdog",
    "connect",
    "connect_unix",
    "current_task",
    "current_waker",
    "detect_blocking",
    "dump_tasks",
    "join_all",
    "listen",
    "listen_unix",
    "move_on_after",
    "now",
    "park",
    "run",
    "run_in_thread",
    "serve",
    "signals",
    "sleep",
    "sleep_until",
    "spawn",
    "timeout",
    "yield_now",
]
