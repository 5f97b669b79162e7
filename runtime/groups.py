"""Task groups: a block that tasks are started in, and that is not left before they have ended.

The fact that shaped this file: leaving is the hard part.  A child may fail, the block may fail,
both may be cancelled from outside, and all of it at once; whatever the order, every child has ended
and every failure is in the ExceptionGroup when the block is left.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextlib import nullcontext
from types import CodeType, TracebackType
from typing import Any, Self, TypeVar

from .cancel import Cancelled, Member
from .executor import Executor, spawn_site
from .scopes import CancelScope
from .task import Task, current_task, discard, park, running

T = TypeVar("T")

log = logging.getLogger("runtime")


class _GroupScope(CancelScope):
    """A group's scope, which tells the group when one of its tasks has ended."""

    __slots__ = ("_group",)

    def __init__(self) -> None:
        super().__init__()
        self._group: TaskGroup | None = None

    def enter(self, group: TaskGroup) -> None:
        """Open the block of `group`."""
        self._group = group
        self.__enter__()

    def dismiss(self, task: Member, error: BaseException | None) -> None:
        super().dismiss(task, error)
        if self._group is not None:
            self._group.child_done(error)

    def leave(self) -> Task[Any]:
        self._group = None  # it refers to the scope, and the two would be a cycle
        return super().leave()


class TaskGroup:
    """A block that tasks are started in, and that is not left before all of them have ended.

    The first one that fails cancels the rest and the block; then an ExceptionGroup of all the
    failures is raised.  A child that was cancelled by its handle is no failure, and what ends the
    program (KeyboardInterrupt, SystemExit) is raised as it is.
    """

    __slots__ = ("_body", "_errors", "_executor", "cancel_scope")

    def __init__(self) -> None:
        #: The scope around the block and all its tasks.
        self.cancel_scope = _GroupScope()
        self._errors: list[BaseException] = []
        self._body: Task[Any] | None = None
        # Set while the group is open.
        self._executor: Executor | None = None

    def spawn(self, coro: Awaitable[T], *, name: str | None = None) -> Task[T]:
        """Start a task inside the block.  RuntimeError once the block is over."""
        return self.spawn_from(coro, name, spawn_site(1))

    def spawn_from(
        self, coro: Awaitable[T], name: str | None, site: tuple[CodeType, int]
    ) -> Task[T]:
        """The same, said to be spawned at `site`."""
        executor = self._executor
        if executor is None or executor is not running.executor:
            discard(coro)
            raise RuntimeError(
                "this task group is not open here: spawn inside its `async with` block, "
                "and in the thread of its runtime"
            )
        return executor.spawn(coro, name=name, scope=self.cancel_scope, site=site)

    def child_done(self, error: BaseException | None) -> None:
        """A child ended (the scope says so)."""
        if error is not None and not isinstance(error, Cancelled):
            self._errors.append(error)
            self.cancel_scope.cancel()
        if self._body is not None and not self.cancel_scope.members:
            self._body.wake()

    async def __aenter__(self) -> Self:
        self.cancel_scope.enter(self)
        self._executor = current_task().executor
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        # What ends the program is raised as it is: in a group, `sys.exit(3)` would not be heard.
        ends_all = isinstance(error, (KeyboardInterrupt, SystemExit))
        if error is not None:
            self.cancel_scope.cancel()
            if not (ends_all or isinstance(error, Cancelled)):
                self._errors.append(error)
        cancelled = await self._children_ended() or isinstance(error, Cancelled)
        self._executor = None
        cancelled_outside = self.cancel_scope.leave().cancelled
        if self._errors:
            errors, self._errors = self._errors, []
            try:
                if ends_all:
                    _log(errors)
                    return False
                raise BaseExceptionGroup("tasks in the group failed", errors)
            finally:
                del errors, error  # a frame that its own exception refers to is a cycle
        if cancelled and not cancelled_outside:
            self.cancel_scope.cancelled_caught = True
            return True
        if cancelled and error is None:
            raise Cancelled
        return False

    async def _children_ended(self) -> bool:
        """Wait for every child, come what may; whether that wait was cancelled."""
        self._body = current_task()
        cancelled = False
        try:
            while self.cancel_scope.members:
                # The children are inside the same scope, so they hear of it, too; nothing may
                # outlive the block, so they are waited for all the same.  Behind a new shield each
                # time: an impatient shutdown lets Cancelled in through those that are there.
                try:
                    with CancelScope(shield=True) if cancelled else nullcontext():
                        while self.cancel_scope.members:
                            await park()
                except Cancelled:
                    cancelled = True
        finally:
            self._body = None
        return cancelled


def _log(errors: list[BaseException]) -> None:
    for error in errors:
        log.error("a task in a group failed, and the program is ending", exc_info=error)
