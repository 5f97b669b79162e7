"""Standard error that nobody can read: nothing is told, and everything else is as it would be."""

import contextlib
import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.server.harness import TIMEOUT, clean_environment
from tests.server.scripted import announced


def command(redirection: str, *arguments: str) -> list[str]:
    """The server, from a shell that redirects its standard error."""
    shell = f'exec "$@" {redirection}'
    return ["sh", "-c", shell, "sh", sys.executable, "-m", "server", *arguments]


@pytest.mark.parametrize("redirection", ["2>&-", "<&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_serves_and_ends_well(workers: int, redirection: str) -> None:
    process = subprocess.Popen(
        command(redirection, "--echo=127.0.0.1:0", f"--workers={workers}"),
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
        start_new_session=True,
    )
    try:
        announced(process)
        assert not any(
            "socket" in os.readlink(f"/proc/{each.pid}/fd/2")  # a stray message would go there
            for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=TIMEOUT)


@pytest.mark.parametrize("redirection", ["2>&-", "<&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize("fault", ["--echo=x", "--echo=192.0.2.1:0"])
def test_a_bad_setting_is_status_2(fault: str, redirection: str) -> None:
    done = subprocess.run(command(redirection, fault), timeout=TIMEOUT, env=clean_environment())
    assert done.returncode == 2
