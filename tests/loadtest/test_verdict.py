"""Each rule voids a run or limits its use, alone and by name; without any it is valid."""

import random
from dataclasses import replace
from typing import Any

import pytest

from loadtest.results.figures import Failure
from loadtest.results.schema import Row
from loadtest.runs.verdict import judge
from tests.loadtest.sample_results import sample_row

GOOD = sample_row("runtime", 1000, 1, random.Random(1))


def with_times(lag: float, slowest: float) -> Row:
    return replace(GOOD, hub_lag_ms={"p99": lag}, response_ms={"p99": slowest})


def test_a_run_with_nothing_against_it_is_valid() -> None:
    assert judge(GOOD) == ("valid", [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"held_client_min": 999}, "999 of 1,000 connections held at the minimum, on the client"),
        ({"held_server_min": 0}, "0 of 1,000 connections held at the minimum, on the server"),
        ({"held_client_min": None}, "nothing was measured on the client's side"),
        ({"held_server_min": None}, "nothing was measured on the server's side"),
        (
            {"failures": [Failure("ECHO", "response", "WrongBytes()", 2)]},
            "2 failed, most often ECHO: WrongBytes",
        ),
        ({"lost": 3}, "3 connections were lost"),
        ({"echoes": 0}, "no echo came"),
        ({"echoes": None}, "no echo came"),
        ({"server_exit_status": 1}, "the server ended with status 1"),
        ({"listen_overflows": 1}, "overflowed 1 times"),
        ({"listen_drops": 4}, "dropped 4 connections"),
    ],
)
def test_a_run_that_had_another_load_is_void(change: dict[str, Any], reason: str) -> None:
    verdict, reasons = judge(replace(GOOD, **change))
    assert verdict == "void"
    assert len(reasons) == 1
    assert reason in reasons[0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (with_times(lag=0.11, slowest=1.0), "response p99 of 1 ms includes Locust's own lag"),
        (replace(GOOD, client_cpu_percent=90.1), "busy for 90 %"),
        (replace(GOOD, softnet_drops=1), "dropped 1 packets"),
    ],
)
def test_a_run_at_locusts_limit_is_client_limited(row: Row, reason: str) -> None:
    verdict, reasons = judge(row)
    assert verdict == "client-limited"
    assert len(reasons) == 1
    assert reason in reasons[0]


@pytest.mark.parametrize(
    "row",
    [
        with_times(lag=0.1, slowest=1.0),
        replace(GOOD, client_cpu_percent=90.0),
        replace(GOOD, hub_lag_ms=None, response_ms=None, client_cpu_percent=None),
        replace(GOOD, listen_overflows=None, listen_drops=None, softnet_drops=None),
    ],
)
def test_up_to_the_limit_and_where_nothing_is_known_it_is_valid(row: Row) -> None:
    assert judge(row) == ("valid", [])


def test_a_run_that_broke_off_has_that_for_its_only_reason() -> None:
    assert judge(replace(GOOD, held_client_min=1), "no luck") == ("void", ["no luck"])


def test_a_void_run_is_not_called_client_limited_as_well() -> None:
    verdict, reasons = judge(replace(GOOD, lost=1, client_cpu_percent=99.0, echoes=0))
    assert verdict == "void"
    assert [reason.split()[0] for reason in reasons] == ["1", "no"]
