"""HTTP/1.1 for the admin port: GET and HEAD, parsed by h11, served on this project's own runtime.

A port that anybody can reach must not let anybody keep it busy, and a probe that finds it busy has
the server restarted. So every exchange has a deadline, a request's head a bound, and when there are
too many connections the one that has waited for its peer the longest gives way to the new one: a
crowd of silent peers keeps out nobody who asks at once.
"""

import contextlib
import email.utils
import http
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import h11

import runtime
from runtime import BrokenError, CancelScope, Listener, Stream
from server import logs

MOST_CONNECTIONS = 16

MOST_HEAD = 16384
"""Bytes of a request's line and headers."""

REQUEST_TIMEOUT = 10.0
"""Seconds for the head of a request, from its first byte, and once more for its answer."""

IDLE_TIMEOUT = 120.0
"""Seconds between two requests of a connection: scrapers come by once a minute."""

LINGER = 1.0
"""Seconds to go on reading after the last answer: a close with bytes unread would destroy it."""

METHODS = ("GET", "HEAD")

PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """A GET or a HEAD, as far as anybody here wants to know."""

    path: str
    accept: str


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back; of a HEAD all but the body."""

    body: bytes
    status: http.HTTPStatus = http.HTTPStatus.OK
    content_type: str = PLAIN


Respond = Callable[[Request], Awaitable[Response]]


class HttpServer:
    """Serves a listener's connections by a function from a request to its response."""

    def __init__(self, listener: Listener, respond: Respond) -> None:
        self._listener = listener
        self._respond = respond
        # The one whose last request is longest ago comes first.
        self._open: OrderedDict[CancelScope, None] = OrderedDict()

    async def serve(self) -> None:
        """Serve until cancelled."""
        await runtime.serve(self, self.handle)

    async def accept(self) -> Stream:
        """The next connection, once the one before it has taken its place."""
        await runtime.yield_now()
        return await self._listener.accept()

    async def handle(self, stream: Stream) -> None:
        """Serve one connection to its end."""
        if len(self._open) >= MOST_CONNECTIONS:
            longest, _ = self._open.popitem(last=False)
            longest.cancel()
        with CancelScope(deadline=runtime.now() + REQUEST_TIMEOUT) as scope:
            self._open[scope] = None
            try:
                with contextlib.suppress(BrokenError):  # a peer that went away is no news
                    await self._converse(stream, scope)
            finally:
                self._open.pop(scope, None)

    async def _converse(self, stream: Stream, scope: CancelScope) -> None:
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)
        while True:
            request: h11.Request | None = None
            try:
                request = await _next_request(parser, stream, scope)
                if request is None:
                    return
                response = await self._answer(request)
            except h11.RemoteProtocolError as error:
                logs.often(logging.INFO, "bad request on the admin port", error=str(error)[:100])
                response = _status(http.HTTPStatus(error.error_status_hint))
            head_alone = request is not None and request.method == b"HEAD"
            await stream.send_all(_encode(parser, response, head_alone))
            if parser.our_state is not h11.DONE:
                break  # one of us has said "Connection: close"
            parser.start_next_cycle()
            scope.deadline = runtime.now() + IDLE_TIMEOUT
            if scope in self._open:
                self._open.move_to_end(scope)
        scope.deadline = runtime.now() + LINGER
        stream.send_eof()
        while await stream.recv(MOST_HEAD):
            pass

    async def _answer(self, request: h11.Request) -> Response:
        if request.method.decode() not in METHODS:
            return _status(http.HTTPStatus.METHOD_NOT_ALLOWED)
        accept = b",".join(value for name, value in request.headers if name == b"accept")
        path = request.target.partition(b"?")[0]
        try:
            return await self._respond(Request(path.decode(), accept.decode("latin-1")))
        except Exception:
            logs.logger.exception("the admin port cannot answer")
            return _status(http.HTTPStatus.INTERNAL_SERVER_ERROR)


async def _next_request(
    parser: h11.Connection, stream: Stream, scope: CancelScope
) -> h11.Request | None:
    """The next request; None if the peer has ended instead."""
    begun = False
    while (event := parser.next_event()) is h11.NEED_DATA:
        data = await stream.recv(MOST_HEAD)
        if not begun:
            scope.deadline = runtime.now() + REQUEST_TIMEOUT
            begun = True
        parser.receive_data(data)
    if not isinstance(event, h11.Request):
        return None
    scope.deadline = runtime.now() + REQUEST_TIMEOUT
    with contextlib.suppress(h11.RemoteProtocolError):
        # Its end, if it has no body. Nobody reads one that it has, and it ends the connection.
        parser.next_event()
    return event


def _status(status: http.HTTPStatus) -> Response:
    return Response(f"{status} {status.phrase}\n".encode(), status)


def _encode(parser: h11.Connection, response: Response, head_alone: bool) -> bytes:
    headers = [
        ("Date", email.utils.formatdate(usegmt=True)),
        ("Content-Type", response.content_type),
        ("Content-Length", str(len(response.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if response.status is http.HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", ", ".join(METHODS)))
    if parser.their_state is not h11.DONE:
        headers.append(("Connection", "close"))
    event = h11.Response(
        status_code=response.status, reason=response.status.phrase.encode(), headers=headers
    )
    parts = [parser.send(event)]
    if not head_alone:
        parts.append(parser.send(h11.Data(data=response.body)))
    parts.append(parser.send(h11.EndOfMessage()))
    return b"".join(part for part in parts if part)
