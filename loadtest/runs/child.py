"""A child process that cannot outlive the run and always says why it ended.

Its output goes to files: they stay as evidence, and no pipe can fill up and stop it. It gets a
session of its own, so that Ctrl-C reaches `compare` alone, which then stops its children in the
right order.
"""

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

POLL = 0.02


class RunFailed(Exception):
    """A run cannot go on; the message is the reason that its row shows."""


class Child:
    """A started process with a name, its standard output and its log in files."""

    def __init__(
        self, name: str, command: Sequence[str], out: Path, log: Path, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self._log = log
        with out.open("wb") as stdout, log.open("wb") as stderr:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    env=dict(env),
                    start_new_session=True,
                )
            except OSError as error:
                raise RunFailed(f"{name} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status once it has ended, negative for a signal."""
        return self._process.poll()

    def check_alive(self, when: str) -> None:
        """RunFailed if it has ended, with what it said last."""
        if self.status is not None:
            words = self._last_words()
            raise RunFailed(f"{self.name} ended {when} with status {self.status}{words}")

    def stop(self, patience: float) -> int:
        """SIGTERM, after `patience` seconds SIGKILL; the exit status, negative for a signal."""
        if self.status is None:
            self._process.terminate()
            if self.wait(patience) is None:
                self._process.kill()
        return self._process.wait()

    def wait(self, patience: float) -> int | None:
        """Its exit status, or None after `patience` seconds."""
        deadline = time.monotonic() + patience
        while self.status is None and time.monotonic() < deadline:
            time.sleep(POLL)
        return self.status

    def explain(self, status: int) -> str:
        """What its exit status means, with what it said last."""
        if status == -signal.SIGKILL:
            return f"{self.name} had to be killed, or was{self._last_words()}"
        return f"{self.name} ended with status {status}{self._last_words()}"

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Whatever happened, it is gone after this."""
        self.stop(patience=5.0)

    def _last_words(self) -> str:
        lines = [
            line for line in self._log.read_text(errors="replace").splitlines() if line.strip()
        ]
        return f": {lines[-1].strip()[:300]}" if lines else ""
