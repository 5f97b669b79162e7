"""A server whose engine does what a test says: fails, hangs, ends in the wrong moment.

The command is the real one and the process is a real one; only the engine is exchanged for a
few lines of Python, which find ``instance`` at hand. So each way in which an engine can go wrong
can be had at will.
"""

import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator

from tests.server.harness import TIMEOUT, clean_environment

_PROGRAM = """
import os, signal, sys, threading, time, types
from server import __main__, engines, logs
from server.workers import control, supervisor
from server.errors import UsageError
def engine(instance):
{engine}
{before}
engines.load = lambda mode: engine
sys.exit(__main__.main())
"""

WAIT_FOR_TERM = """
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
signal.signal(signal.SIGINT, lambda number, frame: stop.set())
instance.serving()
while not stop.wait(0.01):
    pass
instance.draining()
"""
"""An engine as it should be, but for the serving."""


@contextlib.contextmanager
def scripted(
    engine: str, *arguments: str, before: str = "", environ: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The server with that engine; what it leaves behind is killed with its group."""
    program = _PROGRAM.format(engine=textwrap.indent(engine, "    "), before=before)
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--echo", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment() | (environ or {}),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.communicate(timeout=TIMEOUT)


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit status and its log, when all that write to it are gone."""
    assert process.stderr is not None
    log = process.stderr.read()
    return process.wait(TIMEOUT), log


def announced(process: subprocess.Popen[str]) -> str:
    """The first line of its standard output: it serves."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening "), line
    return line
