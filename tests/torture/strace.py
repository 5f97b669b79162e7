"""Has the kernel refuse a running server's system calls, by strace's fault injection.

strace attaches to one thread of the server, does not let the chosen calls through, and answers them
with an error; then it detaches. Whether it may attach at all is up to the machine (ptrace(2)).
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator


@functools.cache
def obstacle() -> str | None:
    """Why strace cannot be used here; None if it can."""
    if shutil.which("strace") is None:
        return "needs the strace command"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        try:
            with refusing(other.pid, "accept4", "EMFILE", "1"):
                pass
        except PermissionError as error:
            return str(error)
        finally:
            other.kill()
    return None


@contextlib.contextmanager
def refusing(thread: int, call: str, error: str, when: str) -> Iterator[None]:
    """Within the block, of the calls that a thread makes those fail that ``when`` numbers.

    ``1`` is the first one, ``1..3`` are the first three, ``2+2`` is every second one.
    """
    with subprocess.Popen(
        [
            *("strace", "-p", str(thread), "-o", os.devnull),
            *("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    ) as strace:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        try:
            if "attached" not in said:
                raise PermissionError(f"strace cannot attach: {said.strip()}")
            yield
        finally:
            strace.send_signal(signal.SIGINT)
            strace.stderr.read()
            strace.wait()


def threads(process: int) -> set[int]:
    """The thread ids of a process."""
    return {int(each) for each in os.listdir(f"/proc/{process}/task")}
