"""The pytest plugin: `async def` tests that run on this runtime, and fail for what they leave.

    @pytest.mark.runtime
    async def test_an_idle_connection_is_closed_after_an_hour(virtual_clock):
        ...

It is there once the package is installed.  A test runs if it is marked (a class or a module may be
marked, too), or if the ini option `runtime_mode` is `auto`, which takes every `async def` test
that no other plugin's marker claims; all other tests are none of its business.  On a clock that
jumps if the test, or a fixture of it, asks for the fixture `virtual_clock`, or by
`@pytest.mark.runtime(virtual_clock=True)`.

A test that passes fails all the same if it leaves a task alive, a descriptor open, a thread
running, or an error that the runtime logged because nobody else heard of it.  Expected ones are
taken from the fixture `runtime_errors`; `@pytest.mark.runtime(leaks=False)` does not look.

**Async fixtures** of function scope work, with or without `yield`, for the tests that run here.
They are entered in the test's own task, one inside the other, and left in the reverse order before
the run ends: so a fixture may yield from inside a task group or a timeout, which then stands around
the test.  What is behind the `yield` runs also if the test fails; if such a scope is cancelled, the
`yield` raises Cancelled.  An async fixture gets sync ones; a sync fixture cannot get an async one,
because it is set up before the loop runs, and is told so.  A wider scope than "function" would have
to outlive the run, and is refused.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, cast

import pytest
from _pytest.unittest import TestCaseFunction

from ..cancel import Cancelled
from ..clock import Clock
from ..run import run
from ..sleep import yield_now
from ..stuck import waits_in
from ..task import current_executor, current_task
from .clock import VirtualClock
from .leaks import Leaks, collect_errors

#: The markers of other plugins that run async tests.
_OTHERS = ("asyncio", "anyio", "trio", "twisted", "tornado", "curio")

#: How many turns tasks get to end by themselves, once the test has ended.
_TURNS = 100

_RUNNING = pytest.StashKey[bool]()
_ERRORS = pytest.StashKey[list[logging.LogRecord]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "runtime_mode",
        "strict: run async tests marked `runtime` on the runtime (default); auto: run them all",
        default="strict",
    )


def pytest_configure(config: pytest.Config) -> None:
    mode = config.getini("runtime_mode")
    if mode not in ("strict", "auto"):
        raise pytest.UsageError(f"runtime_mode must be strict or auto, not {mode!r}")
    config.addinivalue_line(
        "markers",
        "runtime(virtual_clock=False, leaks=True): run this async test on the c10k runtime, "
        "on a clock that jumps or not, and fail it for what it leaves behind or not",
    )


def _is_ours(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj):
        return False
    if item.get_closest_marker("runtime") is not None:
        return True
    taken = any(item.get_closest_marker(name) is not None for name in _OTHERS)
    return item.config.getini("runtime_mode") == "auto" and not taken


def _option(item: pytest.Item, name: str, default: bool) -> bool:
    marker = item.get_closest_marker("runtime")
    if marker is None:
        return default
    unknown = set(marker.kwargs) - {"virtual_clock", "leaks"}
    if unknown or marker.args:
        what = ", ".join([*map(repr, marker.args), *sorted(unknown)])
        pytest.fail(f"the runtime marker does not know {what}: virtual_clock=, leaks=", False)
    return bool(marker.kwargs.get(name, default))


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """The clock that the test runs on; override it for one that is more patient."""
    return VirtualClock()


@pytest.fixture
def runtime_errors(request: pytest.FixtureRequest) -> list[logging.LogRecord]:
    """What the runtime has logged as an error during the test; those taken out were expected."""
    item: pytest.Item = request.node
    return item.stash.setdefault(_ERRORS, [])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and _is_ours(item):
        if isinstance(item, TestCaseFunction) and item.get_closest_marker("runtime") is not None:
            pytest.fail("unittest runs the tests of a TestCase: use a plain class", pytrace=False)
        wanted = _option(item, "virtual_clock", False)
        if wanted and "virtual_clock" not in item.fixturenames:
            item.fixturenames.append("virtual_clock")


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    function = fixturedef.func
    if _is_ours(request._pyfuncitem):
        fixturedef.func = _instead_of(fixturedef, request)  # type: ignore[misc]
    try:
        return (yield)
    finally:
        fixturedef.func = function  # type: ignore[misc]


def _instead_of(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Callable[..., Any]:
    """What pytest shall call in place of the fixture's function."""
    name, function = fixturedef.argname, fixturedef.func
    if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        for other in fixturedef.argnames:
            if isinstance(request.getfixturevalue(other), _AsyncFixture):
                return _refusal(f"{name!r} is sync and asks for {other!r}, which is async")
        return function
    if fixturedef.scope != "function":
        return _refusal(f"{name!r} is async and ends with its test's run: its scope is 'function'")
    if request._pyfuncitem.stash.get(_RUNNING, False):
        return _refusal(f"{name!r} is async and comes too late: make it an argument of the test")
    if request.instance is not None and inspect.ismethod(function):
        function = function.__func__.__get__(request.instance)
    return partial(_AsyncFixture, function)


def _refusal(why: str) -> Callable[..., Any]:
    def refuse(**kwargs: object) -> NoReturn:
        pytest.fail(f"the fixture {why}", pytrace=False)

    return refuse


class _AsyncFixture:
    """Stands in for the value of an async fixture until the loop runs."""

    def __init__(self, function: Callable[..., Any], **kwargs: Any) -> None:
        self._function, self._kwargs = function, kwargs
        self._entered = False
        self._value: Any = None

    async def enter(self, stack: AsyncExitStack) -> Any:
        """The value; what comes behind the fixture's `yield` is left to `stack`."""
        if not self._entered:
            self._entered = True
            kwargs = {name: await _value(it, stack) for name, it in self._kwargs.items()}
            if inspect.isasyncgenfunction(self._function):
                manager = asynccontextmanager(self._function)(**kwargs)
                self._value = await manager.__aenter__()
                stack.push_async_exit(partial(_leave, manager))
            else:
                self._value = await self._function(**kwargs)
        return self._value


async def _leave(
    manager: AbstractAsyncContextManager[Any],
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
) -> bool | None:
    """Go on behind a fixture's `yield`, whatever became of the test, as pytest's own fixtures do.

    Only `Cancelled` is raised there: it may belong to a scope that the fixture yields from.
    """
    if isinstance(error, Cancelled):
        return await manager.__aexit__(kind, error, traceback)
    return await manager.__aexit__(None, None, None)


async def _value(of_fixture: Any, stack: AsyncExitStack) -> Any:
    return await of_fixture.enter(stack) if isinstance(of_fixture, _AsyncFixture) else of_fixture


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    __tracebackhide__ = True
    if not _is_ours(pyfuncitem):
        return None
    look = _option(pyfuncitem, "leaks", True)
    errors = pyfuncitem.stash.setdefault(_ERRORS, [])
    clock = cast("Clock | None", pyfuncitem.funcargs.get("virtual_clock"))
    left: list[str] = []
    leaks = Leaks()
    pyfuncitem.stash[_RUNNING] = True
    try:
        with collect_errors(errors):
            run(_main(pyfuncitem, left), clock=clock)
    except BaseException as error:
        for record in errors:
            error.add_note(_describe(record))
        raise
    finally:
        pyfuncitem.stash[_RUNNING] = False
    left += [_describe(record) for record in errors] + leaks.left()
    if look and left:
        pytest.fail("the test passed, but\n  " + "\n  ".join(left), pytrace=False)
    return True


async def _main(item: pytest.Function, left: list[str]) -> None:
    """The fixtures, the test inside them, and a look at the tasks that they leave."""
    passed = False
    async with AsyncExitStack() as stack:
        values = {name: await _value(it, stack) for name, it in item.funcargs.items()}
        await item.obj(**{name: values[name] for name in item._fixtureinfo.argnames})
        passed = True
    if not passed:  # nor has it raised: an exit on the stack has taken that in
        pytest.fail("the test did not come to its end: a fixture took in what it raised", False)
    me, executor = current_task(), current_executor()
    for _ in range(_TURNS):
        tasks = [task for task in executor.tasks() if task is not me]
        if not tasks:
            return
        await yield_now()
    for task in tasks:
        where = "no more" if task.over else f"in {waits_in(task)}"
        left.append(f"{task.name!r}, spawned at {task.spawned_at}, is still alive: waits {where}")


def _describe(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return f"the runtime logged an error: {record.getMessage()}" + (f": {error!r}" if error else "")
