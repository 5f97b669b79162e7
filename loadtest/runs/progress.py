"""What a long series of runs is doing, on standard error: live on a terminal, else plain lines.

On a terminal two lines at the bottom change all the time (how far the series is, what the present
run does) and each finished run leaves a line with its figures above them. Plain output (a log, a
CI job) gets a line for each change of phase and each finished run, and none for each tick.
"""

import time
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

BAR_WIDTH = 30


class Reporter:
    """Tells where the series stands; a context manager, so that the terminal is left in order."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._runs = 0
        self._number = 0
        self._left = 0.0
        self._run_seconds = 0.0
        self._run_began = 0.0
        self._run = ""
        self._stage = ""
        self._detail = ""

    def __enter__(self) -> "Reporter":
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                get_renderable=self._render,
                refresh_per_second=4,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def expect(self, runs: int, seconds: float) -> None:
        """So many runs follow, and they will take about so long."""
        self._runs, self._number, self._left = runs, 0, seconds

    def begin(self, run: str, seconds: float) -> None:
        """The next run, and how long it will take."""
        self._number += 1
        self._run, self._run_seconds = run, seconds
        self._run_began = time.monotonic()
        self._stage = self._detail = ""

    def update(self, stage: str, detail: str) -> None:
        """The stage of this run and how far it is; `detail` may change many times a second."""
        if self._live is None and stage != self._stage:
            self.note(f"{self._where()}: {stage}  {detail}".rstrip())
        self._stage, self._detail = stage, detail

    def end(self, outcome: str) -> None:
        """This run is over; its figures, in a line that stays."""
        self.note(f"{self._where()}: {outcome}")
        self._left = max(0.0, self._left - self._run_seconds)
        self._run_seconds = 0.0

    def _where(self) -> str:
        return f"[{self._number}/{self._runs}] {self._run}"

    def _seconds_left(self) -> float:
        """What is expected of the runs to come, and of this one less what it has taken."""
        spent = min(self._run_seconds, time.monotonic() - self._run_began)
        return max(0.0, self._left - spent)

    def _render(self) -> RenderableType:
        if not self._runs:
            return Text("")
        finished = self._number - (1 if self._run_seconds else 0)
        line = Table.grid(padding=(0, 1))
        minutes = self._seconds_left() / 60
        line.add_row(
            ProgressBar(total=self._runs, completed=finished, width=BAR_WIDTH),
            Text(f"{finished} of {self._runs} runs done, about {minutes:.0f} min to go"),
        )
        now = Text(f"{self._where()}: {self._stage}  {self._detail}", overflow="ellipsis")
        now.no_wrap = True
        return Group(line, now)
