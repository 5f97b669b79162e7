"""What the torture tests stand on: a size, figures, and the table that full sizes end in.

The same tests run in two sizes. Without ``--full`` they are small and part of every run of the
suite: they find a byte in the wrong place, a descriptor that is left, a client that is cut off for
another's fault. With it (``make torture``) they have the sizes that the bars are about, and all
that they record is written as a table.
"""

import shlex
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.server.conftest import authority, mode, start
from tests.torture.bars import BARS
from tests.torture.table import SHARED, Cell, Results

__all__ = ["authority", "mode", "start"]

T = TypeVar("T")

RESULTS = pytest.StashKey[Results]()


class Scale:
    """Chooses between the value for a small run and the one for ``--full``."""

    def __init__(self, full: bool) -> None:
        self.full = full

    def __call__(self, small: T, full: T) -> T:
        return full if self.full else small


class MissedError(AssertionError):
    """A figure is beyond its bar, and in the table."""


class Figures:
    """What one test found. It passes if every figure reaches its bar, and says all that do not."""

    def __init__(self, results: Results, item: int, engine: str, full: bool) -> None:
        self._results = results
        self._item = item
        self._engine = engine
        self._full = full
        self._missed: list[str] = []

    def __call__(self, figure: str, value: float) -> None:
        """Record a figure; the bar of this name is in ``bars.py``."""
        bar = BARS[self._item, figure]
        reached = self._results.record(bar, self._engine, value)
        if not reached and (self._full or not bar.noisy):
            self._missed.append(f"{figure}: {value:g} {bar.unit}, at most {bar.most:g}")

    def judge(self) -> None:
        if self._missed:
            raise MissedError("; ".join(self._missed))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("torture")
    group.addoption("--full", action="store_true", help="the sizes that the bars are about")
    group.addoption("--minutes", type=float, default=0.0, help="how long the soak test soaks")
    group.addoption(
        "--table", type=Path, default=Path("results/torture.md"), help="where --full writes it"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "item(number): which of the tortures a test belongs to")
    config.stash[RESULTS] = Results()


def is_full(config: pytest.Config) -> bool:
    """Whether the sizes are full. The option is unknown where pytest starts above this folder."""
    return bool(config.getoption("full", default=False))


@pytest.fixture
def scale(request: pytest.FixtureRequest) -> Scale:
    """``scale(200, 18_000)`` is 200, or 18,000 with ``--full``."""
    return Scale(is_full(request.config))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figures:
    """``figure("descriptors left", 0)`` records a figure for this test's item and engine."""
    config: pytest.Config = request.config
    return Figures(config.stash[RESULTS], *_place(request.node), is_full(config))


def _place(test: pytest.Item) -> tuple[int, str]:
    """A test's item and engine."""
    marker = test.get_closest_marker("item")
    assert marker is not None, f"{test.nodeid} has no mark 'item'"
    callspec = getattr(test, "callspec", None)
    return marker.args[0], callspec.params.get("mode", SHARED) if callspec else SHARED


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Judge at the end of the test: a figure that misses its bar hides no other."""
    result = yield
    figures = pyfuncitem.funcargs.get("figure")
    if isinstance(figures, Figures):
        figures.judge()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have a test that failed or was skipped in the table, whatever it had recorded."""
    report = yield
    missed = call.excinfo is not None and isinstance(call.excinfo.value, MissedError)
    if not (report.passed or missed):
        number, engine = _place(item)
        cause = str(call.excinfo.value).partition("\n")[0] if call.excinfo else report.when or ""
        verdict = Cell("skipped" if report.skipped else "FAIL", cause)
        name = item.name.partition("[")[0].removeprefix("test_").replace("_", " ")
        item.config.stash[RESULTS].enter(number, name, engine, verdict)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    results = config.stash[RESULTS]
    if is_full(config) and results.rows:
        table: Path = config.getoption("table")
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(results.markdown(shlex.join(["pytest", *config.invocation_params.args])))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if is_full(config) and config.stash[RESULTS].rows:
        terminalreporter.write_line(f"the table is in {config.getoption('table')}")
