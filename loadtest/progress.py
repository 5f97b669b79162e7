"""What a long run is doing, on standard error: a live line on a terminal, else plain lines.

Plain output (a log, a CI job) gets one line for each change of phase, not one for each tick.
"""

from types import TracebackType

from rich.console import Console
from rich.status import Status


class Reporter:
    """Tells where the run stands; a context manager, so that the terminal is left in order."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._stage = ""

    def __enter__(self) -> "Reporter":
        if self._console.is_terminal:
            self._status = self._console.status("", refresh_per_second=4)
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, stage: str, detail: str) -> None:
        """The current stage and how far it is; `detail` may change many times a second."""
        if self._status is not None:
            self._status.update(f"{stage}  {detail}")
        elif stage != self._stage:
            self.note(f"{stage}  {detail}".rstrip())
        self._stage = stage
