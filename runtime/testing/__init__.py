"""For tests of programs that run on this runtime.

>>> import runtime
>>> from runtime.testing import VirtualClock, memory_stream_pair
>>> async def main():
...     left, right = memory_stream_pair()
...     async with left, right:
...         await left.send_all(b"an hour later")
...         await runtime.sleep(3600)
...         return await right.recv(100)
>>> runtime.run(main(), clock=VirtualClock())
b'an hour later'

`pytest_plugin.py` makes pytest run `@pytest.mark.runtime` tests; it is registered when the package
is installed, and the one file here that needs anything but the standard library.
"""

from .blocked import wait_all_tasks_blocked
from .clock import VirtualClock
from .listeners import FaultyListener, MemoryListener
from .streams import Link, MemoryStream, RandomSizes, memory_stream_pair

__all__ = [
    "FaultyListener",
    "Link",
    "MemoryListener",
    "MemoryStream",
    "RandomSizes",
    "VirtualClock",
    "memory_stream_pair",
    "wait_all_tasks_blocked",
]
