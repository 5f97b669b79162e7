"""The comparison on a terminal: a row for each run, failed ones with their reason."""

from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.figures import Summary
from loadtest.results import Row

# In two lines each, so that the table fits 80 columns.
COLUMNS = (
    "engine",
    "held",
    "echoes\n/s",
    "CPU us\n/echo",
    "RSS kB\n/conn",
    "response\np50 ms",
    "\np99 ms",
    "service\np99 ms",
    "\nfailed",
)


def print_table(rows: Sequence[Row], console: Console) -> None:
    """Print all rows; notes and reasons follow below, each once."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for number, column in enumerate(COLUMNS):
        justify: Literal["left", "right"] = "right" if number else "left"
        table.add_column(column, justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row), style="" if row.ok else "red")
    console.print(table)
    for row in rows:
        for line in [f"{row.verdict}: {reason}" for reason in row.reasons]:
            console.print(Text(f"{row.engine} {row.repeat}: {line}"), soft_wrap=True)


def _cells(row: Row) -> list[str]:
    sides = [held for held in (row.held_client_min, row.held_server_min) if held is not None]
    rss = row.rss_per_connection
    return [
        f"{row.engine} {row.repeat}",
        integer(min(sides, default=None)),
        integer(row.achieved_per_second),
        integer(row.cpu_us_per_echo),
        "-" if rss is None else f"{rss / 1000:,.1f}",
        summary_cell(row.response_ms, "p50"),
        summary_cell(row.response_ms, "p99"),
        summary_cell(row.service_ms, "p99"),
        f"{sum(failure.count for failure in row.failures):,}",
    ]


def integer(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def summary_cell(summary: Summary | None, key: str) -> str:
    value = summary.get(key) if summary else None
    return "-" if value is None else f"{value:.3g}"
