"""The arithmetic of a row, from what the run saw of both sides."""

from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.host.kernel import ListenCounters
from loadtest.results.figures import Failure, LoadResult
from loadtest.runs.judge import make_row
from loadtest.runs.plan import Job, Plan
from loadtest.runs.run import Census, Observed
from loadtest.runs.sampler import Sample

PLAN = Plan(
    modes=("runtime",),
    connections=(100,),
    scenarios=("hold",),
    rival="runtime",
    duration=10.0,
    repeats=1,
    payload=64,
    pacing=1.0,
    spawn_rate=100,
    source_addresses="",
    out=Path("unused"),
    server_command=("server",),
)
RESULT = LoadResult(
    phase="hold",
    asked=100,
    held_min=100,
    held_end=100,
    lost=0,
    ramp_seconds=1.0,
    hold_seconds=10.0,
    requests=1000,
    cpu_seconds=[2.0],
    times={
        "CONNECT echo": {"count": 100, "p99": 1.0},
        "ECHO response": {"count": 1000, "p99": 5.0},
        "ECHO service": {"count": 1000, "p99": 2.0},
    },
    curves={},
    hub_lag={"count": 200, "p99": 0.4},
    fairness=None,
)


def sample(at: float, cpu: float, fds: int = 110, rss: int = 3_000_000) -> Sample:
    return Sample(at, "hold", cpu_user=cpu, cpu_system=cpu / 2, rss=rss, threads=1, fds=fds)


def observed(result: LoadResult | None = RESULT, fds: int = 110) -> Observed:
    return Observed(
        job=Job("hold", "runtime", 100, 1),
        before=Census(0.0, 0, 10, 0, 0, 900_000, 0, 1_000_000),
        idle=replace(sample(0.0, 0.0, fds=10, rss=1_000_000), phase=None),
        samples=[sample(1.0, 1.0), sample(6.0, 1.01, fds=fds), sample(11.0, 1.02)],
        censuses=[
            Census(0.0, 100, 110, 10, 1, 2_800_000, 4096, 1_900_000),
            Census(12.0, 100, 110, 130, 13, 2_900_000, 0, 1_800_000),
        ],
        result=result,
        listening=ListenCounters(0, 0),
        server_status=0,
    )


def test_a_full_run_is_a_good_row_with_its_arithmetic() -> None:
    row = make_row(PLAN, observed())
    assert (row.verdict, row.reasons) == ("valid", [])
    assert (row.held_client_min, row.held_server_min) == (100, 100)
    assert row.achieved_per_second == 100
    assert row.offered_per_second == 100
    # 0.02 s of user and 0.01 s of system time over 10 s, for 100 echoes a second.
    assert row.cpu_us_per_echo == pytest.approx(30.0)
    assert row.rss_per_connection == 20_000
    assert (row.user_us_per_echo, row.system_us_per_echo) == pytest.approx((20.0, 10.0))
    assert (row.pss_before, row.pss_held) == (900_000, 2_900_000)
    assert (row.tcp_buffers, row.kernel_slab) == (4096, 900_000)
    assert row.voluntary_switches_per_second == 10
    assert row.client_cpu_percent == 20


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (replace(RESULT, held_min=99), "99 of 100 connections held at the minimum, on the client"),
        (replace(RESULT, lost=2), "2 connections were lost"),
        (
            replace(RESULT, failures=[Failure("ECHO", "response", "WrongBytes()", 3)]),
            "3 failed, most often ECHO: WrongBytes",
        ),
        (replace(RESULT, requests=0), "no echo"),
        (None, "nothing was measured on the client"),
    ],
)
def test_what_falls_short_is_the_reason(result: LoadResult | None, reason: str) -> None:
    row = make_row(PLAN, observed(result))
    assert not row.ok
    assert any(reason in given for given in row.reasons)


def test_the_servers_lowest_count_decides_too() -> None:
    row = make_row(PLAN, observed(fds=109))
    assert row.held_server_min == 99
    assert "99 of 100 connections held at the minimum, on the server" in row.reasons[0]


def test_an_engine_that_closes_a_descriptor_of_its_own_before_the_hold_has_lost_nobody() -> None:
    seen = observed(fds=108)
    seen.samples = [replace(each, fds=108) for each in seen.samples]
    seen.censuses = [replace(each, fds=108) for each in seen.censuses]
    assert make_row(PLAN, seen).held_server_min == 100


def test_a_run_that_broke_off_keeps_its_reason_and_measures_nothing() -> None:
    seen = Observed(Job("hold", "threads", 100, 2), reason="server ended with status 2")
    row = make_row(PLAN, seen)
    assert (row.engine, row.repeat, row.ok) == ("threads", 2, False)
    assert row.reasons == ["server ended with status 2"]
    assert row.echoes is None
    assert row.cpu_us_per_echo is None
