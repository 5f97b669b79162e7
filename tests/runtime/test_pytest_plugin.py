"""The pytest plugin: what it runs, what it leaves to others, and what it does not let pass."""

import subprocess
import sys

import pytest

from runtime.testing import leaks

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def strict(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project in which every warning is an error; a thread that stays gets no time to end."""
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = --strict-markers")
    # Other plugins would be imported anew by each run, for seconds.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "runtime.testing.pytest_plugin")
    monkeypatch.setattr(leaks, "GRACE", 0.01)


def outcomes(pytester: pytest.Pytester, source: str, *args: str, **counts: int) -> str:
    """Run `source` as a test file; its output, after its tests have come out as said."""
    pytester.makepyfile("import pytest, runtime\n" + source)
    result = pytester.runpytest_inprocess(*args)
    result.assert_outcomes(**counts)
    return str(result.stdout)


def test_a_marked_test_runs_on_the_runtime(pytester: pytest.Pytester) -> None:
    out = outcomes(
        pytester,
        """
@pytest.mark.runtime
@pytest.mark.parametrize("n", [1, 2])
async def test_it(n, tmp_path):
    assert tmp_path.exists()
    assert await runtime.join_all(runtime.sleep(0) for _ in range(n)) == [None] * n

@pytest.mark.runtime
async def test_it_can_fail():
    left = 1
    assert left == await double(1)

async def double(n):
    return 2 * n

@pytest.mark.runtime
class TestInAClass:
    async def test_it(self):
        await runtime.yield_now()

    def test_beside_it(self):
        with pytest.raises(RuntimeError, match="no runtime here"):
            runtime.now()
""",
        passed=4,
        failed=1,
    )
    assert "assert 1 == 2" in out  # assertions are rewritten as ever


def test_a_test_that_is_not_marked_is_none_of_our_business(pytester: pytest.Pytester) -> None:
    out = outcomes(pytester, "async def test_it():\n    raise AssertionError", failed=1)
    assert "not natively supported" in out


def test_in_auto_mode_every_async_test_runs_that_no_other_plugin_claims(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest("""
import pytest

def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio: another plugin's")

def pytest_pyfunc_call(pyfuncitem):
    if pyfuncitem.get_closest_marker("asyncio"):
        import asyncio
        asyncio.run(pyfuncitem.obj())
        return True
""")
    outcomes(
        pytester,
        """
async def test_ours():
    runtime.now()

@pytest.mark.asyncio
async def test_theirs():
    with pytest.raises(RuntimeError, match="no runtime here"):
        runtime.now()
""",
        "--override-ini=runtime_mode=auto",
        passed=2,
    )


def test_a_mode_that_does_not_exist_is_refused(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--override-ini=runtime_mode=always")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*runtime_mode must be strict or auto, not 'always'*"])


def test_time_jumps_for_those_who_ask(pytester: pytest.Pytester) -> None:
    outcomes(
        pytester,
        """
import time

@pytest.mark.runtime
async def test_by_fixture(virtual_clock):
    await runtime.sleep(3600)
    assert runtime.now() == virtual_clock.now() == 3600

@pytest.mark.runtime(virtual_clock=True)
async def test_by_marker():
    await runtime.sleep(3600)
    assert runtime.now() == 3600

@pytest.fixture
def clocked(virtual_clock):
    return virtual_clock

@pytest.mark.runtime
async def test_by_a_fixture_that_asks(clocked):
    await runtime.sleep(3600)
    assert runtime.now() == clocked.now()

@pytest.mark.runtime
async def test_real_time_for_the_others():
    assert abs(runtime.now() - time.monotonic()) < 60

class TestPatient:
    @pytest.fixture
    def virtual_clock(self):
        return runtime.testing.VirtualClock(patience=0.001)

    @pytest.mark.runtime(virtual_clock=True)
    async def test_with_a_clock_of_its_own(self, virtual_clock):
        assert virtual_clock.patience(1.0) == 0.001
        assert runtime.now() == 0
""",
        passed=5,
    )


@pytest.mark.parametrize("arguments", ["clock=True", "1"])
def test_what_the_marker_does_not_know_is_refused(
    pytester: pytest.Pytester, arguments: str
) -> None:
    source = f"@pytest.mark.runtime({arguments})\nasync def test_it(): ..."
    out = outcomes(pytester, source, errors=1)
    assert f"the runtime marker does not know {arguments.split('=')[0]}" in out


LEFT = {
    "a descriptor": ("socket.socket()", "descriptor * is still open: socket:*"),
    "a thread": (
        "threading.Thread(target=event.wait, name='lurks', daemon=True).start()",
        "a thread is still running: lurks",
    ),
    "a task": (
        "runtime.spawn(runtime.Event().wait(), name='idler')",
        "'idler', spawned at *test_*.py:*, is still alive: waits in Event.wait (*sync.py:*)",
    ),
    "an error": (
        "runtime.spawn(fails())",
        "the runtime logged an error: task 'fails'*: ValueError('nobody awaits me')",
    ),
}


@pytest.mark.parametrize("what", LEFT)
def test_a_test_fails_for_what_it_leaves(pytester: pytest.Pytester, what: str) -> None:
    line, message = LEFT[what]
    source = f"""
import socket, threading
event = threading.Event()
kept = []

async def fails():
    raise ValueError("nobody awaits me")

@pytest.fixture(autouse=True)
def clean_up():
    yield
    event.set()
    for thing in kept:
        if isinstance(thing, socket.socket):
            thing.close()

async def leave():
    kept.append({line})

@pytest.mark.runtime
async def test_it():
    await leave()

@pytest.mark.runtime(leaks=False)
async def test_that_nobody_looks_at():
    await leave()
"""
    pytester.makepyfile("import pytest, runtime\n" + source)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*the test passed, but", f"*  {message}"])


def test_a_task_that_is_about_to_end_is_not_left(pytester: pytest.Pytester) -> None:
    outcomes(
        pytester,
        """
async def ends_soon():
    for _ in range(10):
        await runtime.yield_now()

@pytest.mark.runtime
async def test_it():
    runtime.spawn(ends_soon())
""",
        passed=1,
    )


def test_an_error_that_is_expected_can_be_taken(pytester: pytest.Pytester) -> None:
    outcomes(
        pytester,
        """
async def fails():
    raise ValueError("nobody awaits me")

@pytest.mark.runtime
async def test_it(runtime_errors):
    runtime.spawn(fails())
    await runtime.yield_now()
    assert "nobody awaits it" in runtime_errors.pop().getMessage()
""",
        passed=1,
    )


def test_a_failure_comes_with_the_errors_that_were_logged_before_it(
    pytester: pytest.Pytester,
) -> None:
    out = outcomes(
        pytester,
        """
async def fails():
    raise ValueError("nobody awaits me")

@pytest.mark.runtime
async def test_it():
    runtime.spawn(fails())
    await runtime.yield_now()
    assert 1 == 2

@pytest.mark.runtime
async def test_that_does_not_want_to():
    pytest.skip("not today")

@pytest.mark.runtime
@pytest.mark.xfail(strict=True)
async def test_that_is_known_to_fail():
    assert 1 == 2

@pytest.mark.runtime
async def test_that_would_hang():
    await runtime.Event().wait()
""",
        failed=2,
        skipped=1,
        xfailed=1,
    )
    assert "assert 1 == 2" in out
    assert "E       the runtime logged an error: task 'fails'" in out
    assert "Nothing is left that could wake a task" in out


def test_async_fixtures_live_in_the_tests_own_run(pytester: pytest.Pytester) -> None:
    outcomes(
        pytester,
        """
steps = []

@pytest.fixture
def base():
    steps.append("base")
    yield 1
    steps.append("base over")

@pytest.fixture
async def plain(base):
    await runtime.sleep(1)
    return base + runtime.now()

@pytest.fixture
async def group(plain):
    async with runtime.TaskGroup() as group:
        yield group
        group.cancel_scope.cancel()
    steps.append("group over")

@pytest.fixture
async def last(group, plain):
    yield plain
    steps.append("last over")
    await runtime.sleep(1)

@pytest.fixture(autouse=True)
async def everywhere():
    steps.append("everywhere")

@pytest.mark.runtime
async def test_it(virtual_clock, last, group):
    assert last == 2
    group.spawn(runtime.sleep(1000))
    steps.append("test")

@pytest.mark.runtime
async def test_the_order():
    assert sorted(steps[:2]) == ["base", "everywhere"]
    assert steps[2:] == ["test", "last over", "group over", "base over", "everywhere"]

class TestInAClass:
    @pytest.fixture
    async def mine(self):
        self.here = True
        return self

    @pytest.mark.runtime
    async def test_it(self, mine):
        assert mine is self and self.here
""",
        passed=3,
    )


def test_a_failure_in_a_fixtures_group_reaches_the_test(pytester: pytest.Pytester) -> None:
    out = outcomes(
        pytester,
        """
@pytest.fixture
async def group():
    async with runtime.TaskGroup() as group:
        yield group

async def fails():
    raise ValueError("a child")

@pytest.mark.runtime
async def test_it(group):
    group.spawn(fails())
    await runtime.Event().wait()
""",
        failed=1,
    )
    assert "ValueError: a child" in out


def test_async_fixtures_that_cannot_be_had_say_why(pytester: pytest.Pytester) -> None:
    out = outcomes(
        pytester,
        """
@pytest.fixture
async def value():
    return 1

@pytest.fixture(scope="module")
async def wide():
    return 1

@pytest.fixture
def plain(value):
    return value

@pytest.mark.runtime
async def test_of_a_sync_one(plain): ...

@pytest.mark.runtime
async def test_of_a_wide_one(wide): ...

@pytest.mark.runtime
async def test_of_one_that_comes_late(request):
    request.getfixturevalue("value")

@pytest.mark.runtime
async def test_of_one_in_time(request, value):
    assert value == 1
""",
        errors=2,
        failed=1,
        passed=1,
    )
    assert "the fixture 'plain' is sync and asks for 'value', which is async" in out
    assert "the fixture 'wide' is async and ends with its test's run" in out
    assert "the fixture 'value' is async and comes too late" in out


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_it_is_there_in_a_process_of_its_own(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """By its entry point, before anything of the runtime was imported."""
    pytester.makepyfile("""
import pytest

@pytest.mark.runtime
async def test_it():
    assert 1 == 2, "is rewritten"
""")
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.delenv("PYTEST_PLUGINS")
    result = pytester.runpytest_subprocess(f"--import-mode={mode}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: is rewritten", "*assert 1 == 2"])


def test_the_runtime_does_not_import_pytest() -> None:
    code = "import sys, runtime, runtime.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_fixture_that_takes_in_what_a_test_raises_lets_no_test_pass(
    pytester: pytest.Pytester,
) -> None:
    out = outcomes(
        pytester,
        """
from contextlib import suppress

@pytest.fixture
async def lenient():
    with suppress(ValueError):
        yield

@pytest.fixture
async def bounded(virtual_clock):
    with runtime.move_on_after(1):
        yield

@pytest.mark.runtime
async def test_that_fails(lenient):
    raise ValueError("it went wrong")

@pytest.mark.runtime
async def test_that_takes_too_long(bounded):
    await runtime.sleep(2)

@pytest.mark.runtime
async def test_in_time(lenient, bounded):
    pass
""",
        failed=2,
        passed=1,
    )
    assert "ValueError: it went wrong" in out
    # Not in the summary under it, whose lines are cut off at the terminal's width, but not where
    # CI is set.
    failures = out.partition("short test summary info")[0]
    assert failures.count("did not come to its end: a fixture took in what it raised") == 1


def test_cleanup_behind_a_bare_yield_runs_though_the_test_fails(pytester: pytest.Pytester) -> None:
    out = outcomes(
        pytester,
        """
cleaned = []

@pytest.fixture
async def tidy():
    yield
    await runtime.sleep(0)
    cleaned.append("tidy")

@pytest.mark.runtime
async def test_that_fails(tidy):
    raise ValueError("it went wrong")

def test_the_cleanup_ran():
    assert cleaned == ["tidy"]
""",
        failed=1,
        passed=1,
    )
    assert "ValueError: it went wrong" in out


def test_a_timeout_that_a_fixture_yields_from_fails_the_test(pytester: pytest.Pytester) -> None:
    out = outcomes(
        pytester,
        """
@pytest.fixture
async def bounded(virtual_clock):
    with runtime.timeout(1):
        yield

@pytest.mark.runtime
async def test_that_takes_too_long(bounded):
    await runtime.sleep(2)
""",
        failed=1,
    )
    assert "TimeoutError: not done within 1 seconds" in out


def test_a_marked_test_of_a_test_case_is_refused_because_it_would_never_run(
    pytester: pytest.Pytester,
) -> None:
    out = outcomes(
        pytester,
        """
import unittest

@pytest.mark.runtime
class Test(unittest.TestCase):
    async def test_it(self):
        raise AssertionError

    def test_beside_it(self):
        pass
""",
        "-W",
        "ignore",
        errors=1,
        passed=1,
    )
    assert "use a plain class" in out
