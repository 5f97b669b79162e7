"""Task groups: a block that tasks are started in, and that is not left before they have ended.

The fact that shaped this file: leaving is the hard part.  A child may fail, the block may fail,
both may be cancelled from outside, and all of it at once; whatever the order, every child has ended
and every failure is in the ExceptionGroup when the block is left.
"""

from __future__ import annotations

from collections.abc import Awaitable
from types import CodeType, TracebackType
from typing import Any, Self, TypeVar

from .cancel import Cancelled
from .executor import spawn_site
from .scopes import CancelScope
from .task import Task, current_executor, current_task, discard, park

T = TypeVar("T")


class TaskGroup:
    """A block that tasks are started in, and that is not left before all of them have ended.

    The first one that fails cancels the rest and the block; then an ExceptionGroup of all the
    failures is raised.  A child that was cancelled by its handle is no failure.
    """

    __slots__ = ("_body", "_errors", "_open", "cancel_scope")

    def __init__(self) -> None:
        #: The scope around the block and all its tasks.
        self.cancel_scope = CancelScope()
        self._errors: list[BaseException] = []
        self._body: Task[Any] | None = None
        self._open = False

    def spawn(self, coro: Awaitable[T], *, name: str | None = None) -> Task[T]:
        """Start a task inside the block.  RuntimeError once the block is over."""
        return self.spawn_from(coro, name, spawn_site(1))

    def spawn_from(
        self, coro: Awaitable[T], name: str | None, site: tuple[CodeType, int]
    ) -> Task[T]:
        """The same, said to be spawned at `site`."""
        if not self._open:
            discard(coro)
            raise RuntimeError("this task group is not open: spawn inside its `async with` block")
        task = current_executor().spawn(coro, name=name, scope=self.cancel_scope, site=site)
        task.group = self
        return task

    def child_done(self, task: Task[Any]) -> None:
        """A child ended (the task says so)."""
        if task.error is not None and not isinstance(task.error, Cancelled):
            self._errors.append(task.error)
            self.cancel_scope.cancel()
        if not self.cancel_scope.members and self._body is not None:
            self._body.wake()

    async def __aenter__(self) -> Self:
        self.cancel_scope.__enter__()
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is not None:
            self.cancel_scope.cancel()
            if not isinstance(error, Cancelled):
                self._errors.append(error)
        cancelled = await self._children_ended() or isinstance(error, Cancelled)
        self._open = False
        task = self.cancel_scope.leave()
        if self._errors:
            errors, self._errors = self._errors, []
            try:
                raise BaseExceptionGroup("tasks in the group failed", errors)
            finally:
                del errors, error  # a frame that its own exception refers to is a cycle
        if cancelled and not task.cancelled:
            self.cancel_scope.cancelled_caught = True
            return True
        if cancelled and error is None:
            raise Cancelled
        return False

    async def _children_ended(self) -> bool:
        """Wait for every child, come what may; whether that wait was cancelled."""
        self._body = current_task()
        try:
            while self.cancel_scope.members:
                await park()
        except Cancelled:
            # The children are inside the same scope, so they have heard of it; nothing may
            # outlive the block, so they are waited for all the same.
            with CancelScope(shield=True):
                while self.cancel_scope.members:
                    await park()
            return True
        finally:
            self._body = None
        return False
