"""What the admin port shows, page by page.

Whether the server is alive and whether it is ready are two questions, with two consequences. One
that is not alive is restarted: its loop hangs. One that is not ready gets no new connections: it
has not begun, or it drains, and what it holds goes on.

Whoever has the answers may have to ask other processes for them, so each page is made in a thread.
The two that cost something are made one at a time: asking often costs no more than asking.
"""

import http
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import runtime
from server.admin.exposition import Exposition
from server.admin.http import Request, Response
from server.instance import State
from server.source import Source, SourceGone, WorkerState

P = ParamSpec("P")
T = TypeVar("T")

ALIVE_WITHIN = 5.0
"""Seconds without a heartbeat after which a loop is held to hang. It beats four times a second."""

INDEX = b"""\
/livez    200 if the loops are alive
/readyz   200 if new connections are welcome
/metrics  for Prometheus
/tasks    what each task or thread is doing
"""


class Pages:
    """The pages about one server."""

    def __init__(self, source: Source, mode: str) -> None:
        self._source = source
        self._exposition = Exposition(source, mode)
        self._one_at_a_time = runtime.Lock()

    async def respond(self, request: Request) -> Response:
        """The page at a path."""
        try:
            return await self._page(request)
        except SourceGone as gone:
            return Response(f"{gone}\n".encode(), http.HTTPStatus.SERVICE_UNAVAILABLE)

    async def _page(self, request: Request) -> Response:
        match request.path:
            case "/livez":
                workers = await _ask(self._source.workers)
                return _verdict("alive", is_alive(workers), workers)
            case "/readyz":
                workers = await _ask(self._source.workers)
                return _verdict("ready", is_ready(workers), workers)
            case "/metrics":
                async with self._one_at_a_time:
                    text, kind = await _ask(self._exposition.render, request.accept)
                return Response(text, content_type=kind)
            case "/tasks":
                async with self._one_at_a_time:
                    tasks = await _ask(self._source.tasks)
                return Response(tasks.encode(errors="backslashreplace"))
            case "/":
                return Response(INDEX)
            case _:
                return Response(b"not found; there are:\n" + INDEX, http.HTTPStatus.NOT_FOUND)


async def _ask(question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Ask the source, in a thread. That it is gone is an answer, and not a failure of the thread's,
    which would be logged if the server ends while it is under way."""

    def answer() -> T | SourceGone:
        try:
            return question(*args, **kwargs)
        except SourceGone as gone:
            return gone

    found = await runtime.run_in_thread(answer)
    if isinstance(found, SourceGone):
        raise found
    return found


def is_alive(workers: Sequence[WorkerState]) -> bool:
    """Whether no loop hangs."""
    return all(each.beat_age < ALIVE_WITHIN for each in workers)


def is_ready(workers: Sequence[WorkerState]) -> bool:
    """Whether new connections are served. A worker that starts again does not spoil it."""
    states = {each.state for each in workers}
    return State.SERVING in states and State.DRAINING not in states


def _verdict(word: str, good: bool, workers: Sequence[WorkerState]) -> Response:
    lines = [word if good else f"not {word}"]
    lines += [
        f"process {each.pid} {each.state}, heartbeat {each.beat_age:.1f} s ago" for each in workers
    ]
    status = http.HTTPStatus.OK if good else http.HTTPStatus.SERVICE_UNAVAILABLE
    return Response("".join(f"{line}\n" for line in lines).encode(), status)
