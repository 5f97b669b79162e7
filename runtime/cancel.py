"""Cancellation: a tree of scopes, and the one flag that a task reads.

Cancelling is a state, not an event.  While a scope is cancelled, *every* wait inside it raises
`Cancelled`, the first and the tenth alike, so a cleanup that waits by mistake cannot hang and a
`Cancelled` that was swallowed comes back at the next wait.  (Trio's design; asyncio delivers one
exception once, and code that loses it is never cancelled again.)

The fact that shaped this file: nearly nobody is being cancelled at any moment, and ten thousand
tasks look.  So the tree is walked when a scope changes, and what a running task pays is one
attribute, `Task.cancelled`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Cancelled(BaseException):
    """Raised where a task waits, while a scope around it is cancelled.

    A `BaseException`, so that `except Exception` does not stop it.  Whoever catches it lets it go
    on after cleaning up; the scope that was cancelled takes it in.
    """


class Member(Protocol):
    """What a scope asks of a task."""

    scope: Scope | None
    cancelled: bool

    def wake(self) -> None: ...


class Scope:
    """One node of the tree: the tasks inside it and the scopes nested in it.

    `owner` is the task that entered it, `members` are tasks that began inside it (a task group's
    children).  A shielded scope does not hear of cancellation from outside.
    """

    __slots__ = ("cancel_called", "children", "members", "owner", "parent", "shield")

    def __init__(self, parent: Scope | None = None, *, shield: bool = False) -> None:
        self.parent = parent
        self.shield = shield
        self.cancel_called = False
        self.owner: Member | None = None
        self.members: set[Member] | None = None
        self.children: set[Scope] | None = None

    def cancel(self) -> None:
        """Cancel everything inside, from now on.  A second call changes nothing."""
        if not self.cancel_called:
            known = self.effectively_cancelled()
            self.cancel_called = True
            if not known:  # else nothing changes for anybody below
                self.refresh()

    def effectively_cancelled(self) -> bool:
        """Whether a wait inside raises: cancelled here, or outside with no shield between."""
        scope: Scope | None = self
        while scope is not None:
            if scope.cancel_called:
                return True
            if scope.shield:
                return False
            scope = scope.parent
        return False

    def unshield(self) -> None:
        """Let cancellation from outside in, here and at every scope around this one."""
        scope: Scope | None = self
        while scope is not None:
            if scope.shield:
                scope.shield = False
                scope.refresh()
            scope = scope.parent

    def admit(self, task: Member) -> None:
        """A task begins its life inside this scope."""
        if self.members is None:
            self.members = set()
        self.members.add(task)
        if self.cancel_called or self.parent is not None:
            task.cancelled = self.effectively_cancelled()

    def dismiss(self, task: Member, error: BaseException | None) -> None:
        """A task that began inside has ended, by raising `error` or well."""
        if self.members is not None:
            self.members.discard(task)

    def tasks(self) -> Iterator[Member]:
        """Every task inside, at any depth."""
        below = [self]  # a list and no recursion: scopes may be nested a thousand deep
        while below:
            scope = below.pop()
            if scope.owner is not None:
                yield scope.owner
            yield from scope.members or ()
            below.extend(scope.children or ())

    def refresh(self) -> None:
        """Tell every task inside what holds for it now; one that is newly cancelled wakes up."""
        for task in self.tasks():
            refresh_task(task)

    def adopt(self, child: Scope) -> None:
        """Make `child` hear of it when this scope is cancelled."""
        if self.children is None:
            self.children = set()
        self.children.add(child)
        child.parent = self

    def disown(self, child: Scope) -> None:
        if self.children is not None:
            self.children.discard(child)


def refresh_task(task: Member) -> None:
    """Bring `task.cancelled` in line with the scopes around the task."""
    task.cancelled = task.scope is not None and task.scope.effectively_cancelled()
    if task.cancelled:
        task.wake()
