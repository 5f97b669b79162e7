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

from .byte_stream import ByteStream
from .cancel import Cancelled
from .channels import Receiver, Sender, channel
from .clock import Clock, MonotonicClock
from .connect import connect, connect_unix
from .dns import getaddrinfo
from .errors import (
    BrokenChannel,
    BrokenError,
    BusyError,
    ClosedError,
    EndOfChannel,
    WouldBlock,
)
from .executor import spawn
from .future import PENDING, Future, Pending, Ready
from .groups import TaskGroup
from .inspect import dump_tasks, dump_tasks_on
from .joining import join_all, race
from .listener import Listener, listen, listen_unix, serve
from .locks import Condition, Lock
from .one_by_one import OneByOne, detect_one_by_one
from .oneshot import OneshotReceiver, OneshotSender, oneshot
from .run import run
from .scopes import CancelScope, move_on_after, timeout
from .sealing import HandshakeError, TlsError, TruncatedError
from .signals import Signals, signals
from .sleep import Interval, interval, now, sleep, sleep_until, yield_now
from .stats import Statistics, statistics
from .stream import Stream
from .stuck import Deadlock
from .sync import Event, Semaphore
from .task import JoinHandle, Task, TaskCancelled, current_task, park
from .threads import run_in_thread
from .tls import TlsStream, start_tls
from .udp import UdpEndpoint, udp_endpoint
from .waker import Waker, current_waker
from .watchdog import Watchdog, detect_blocking

__all__ = [
    "PENDING",
    "BrokenChannel",
    "BrokenError",
    "BusyError",
    "ByteStream",
    "CancelScope",
    "Cancelled",
    "Clock",
    "ClosedError",
    "Condition",
    "Deadlock",
    "EndOfChannel",
    "Event",
    "Future",
    "HandshakeError",
    "Interval",
    "JoinHandle",
    "Listener",
    "Lock",
    "MonotonicClock",
    "OneByOne",
    "OneshotReceiver",
    "OneshotSender",
    "Pending",
    "Ready",
    "Receiver",
    "Semaphore",
    "Sender",
    "Signals",
    "Statistics",
    "Stream",
    "Task",
    "TaskCancelled",
    "TaskGroup",
    "TlsError",
    "TlsStream",
    "TruncatedError",
    "UdpEndpoint",
    "Waker",
    "Watchdog",
    "WouldBlock",
    "channel",
    "connect",
    "connect_unix",
    "current_task",
    "current_waker",
    "detect_blocking",
    "detect_one_by_one",
    "dump_tasks",
    "dump_tasks_on",
    "getaddrinfo",
    "interval",
    "join_all",
    "listen",
    "listen_unix",
    "move_on_after",
    "now",
    "oneshot",
    "park",
    "race",
    "run",
    "run_in_thread",
    "serve",
    "signals",
    "sleep",
    "sleep_until",
    "spawn",
    "start_tls",
    "statistics",
    "timeout",
    "udp_endpoint",
    "yield_now",
]
