"""Standard output that nobody can read: the server says so and does not serve in secret."""

import subprocess
import sys

import pytest

from tests.server.harness import MODES, TIMEOUT, clean_environment

FAULT = "c10k-server: cannot write to standard output: "


def start(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the server to its end, from a shell that redirects its standard output."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "server", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
        env=clean_environment(),
    )


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_cannot_announce_itself_ends_with_one_line(
    mode: str, redirection: str
) -> None:
    done = start(redirection, "--mode", mode, "--echo", "127.0.0.1:0")
    assert done.returncode == 2
    assert done.stderr.startswith(FAULT)
    assert done.stderr.count("\n") == 1


def test_a_check_that_nobody_can_read_ends_with_one_line() -> None:
    done = start(">/dev/full", "--check-config")
    assert done.returncode == 2
    assert done.stderr.startswith(FAULT)
    assert done.stderr.count("\n") == 1
