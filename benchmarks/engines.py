"""The engines: where each one's programs are, and how it runs a coroutine.

Nothing of an engine is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias, TypeVar

from benchmarks.programs import Outcome

T = TypeVar("T")

Program: TypeAlias = Callable[[int], Awaitable[int | Outcome]]
Main: TypeAlias = Callable[[], Coroutine[Any, Any, T]]


def _run_runtime(main: Main[T]) -> T:
    import runtime

    return runtime.run(main())


def _run_asyncio(main: Main[T]) -> T:
    import asyncio

    return asyncio.run(main())


def _run_uvloop(main: Main[T]) -> T:
    import asyncio

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _run_trio(main: Main[T]) -> T:
    import trio

    return trio.run(main)


@dataclass(frozen=True)
class Engine:
    """An async runtime under test; `package` is what must be installed for it."""

    name: str
    package: str
    programs: str
    run: Callable[[Main[Any]], Any]

    @property
    def installed(self) -> bool:
        return find_spec(self.package) is not None

    def program(self, benchmark: str) -> Program | None:
        """The engine's version of a benchmark; None if it has nothing that compares."""
        module = import_module(f"benchmarks.programs.{self.programs}")
        program: Program | None = getattr(module, benchmark, None)
        return program


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("runtime", "runtime", "runtime", _run_runtime),
        Engine("asyncio", "asyncio", "asyncio", _run_asyncio),
        Engine("uvloop", "uvloop", "asyncio", _run_uvloop),
        Engine("trio", "trio", "trio", _run_trio),
    )
}
