"""Blocks that close what they were opened with: `with sender:`, `async with stream:`.

The one method that a class brings is `close`, which waits for nothing and may be called twice.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """`with it:` closes it at the end of the block."""

    __slots__ = ()

    def close(self) -> None:
        """Be done with it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClosing:
    """`async with it:` closes it at the end of the block."""

    __slots__ = ()

    def close(self) -> None:
        """Be done with it."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
