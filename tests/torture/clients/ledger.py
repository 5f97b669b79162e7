"""Keeps books: what it sent, what came back, and how each connection should be counted."""

import contextlib
import ssl
from collections import Counter

import runtime
from tests.torture.client import CONNECTING, main, reset_when_closed, say, source, told

KINDS = (
    *("finish", "finish", "finish", "reset", "secure"),
    *("sleep", "sleep", "bad line", "no handshake", "finish"),
)


class Books:
    def __init__(self, ports: dict[str, int], requests: int, context: ssl.SSLContext) -> None:
        self._ports = ports
        self._requests = requests
        self._context = context
        self.closes: Counter[str] = Counter()
        self.requests = self.sent = self.received = 0

    async def serve(self, number: int, permits: runtime.Semaphore) -> None:
        kind = KINDS[number % len(KINDS)]
        service = {"secure": "echo-tls", "no handshake": "sleep-tls"}.get(kind, "echo")
        if kind in ("sleep", "bad line"):
            service = "sleep"
        async with permits:
            stream = await runtime.connect(
                "127.0.0.1",
                self._ports[service],
                local_address=source(number),
                tls=self._context if kind == "secure" else None,
            )
        async with stream:
            if kind == "no handshake":
                await self._no_handshake(stream)
            else:
                message = b"0.0\n" if service == "sleep" else b"%064d" % number
                for _ in range(self._requests):
                    await self._ask(stream, message)
                await self._end(stream, kind)

    async def _ask(self, stream: runtime.Stream, message: bytes) -> None:
        await stream.send_all(message)
        self.sent += len(message)
        reply = b""
        while len(reply) < len(message):
            data = await stream.recv(4096)
            if not data:
                raise RuntimeError("an answer is missing")
            reply += data
        if reply != message:
            raise RuntimeError("an answer is wrong")
        self.received += len(reply)
        self.requests += 1

    async def _end(self, stream: runtime.Stream, kind: str) -> None:
        if kind == "reset":
            reset_when_closed(stream)
            self.closes["broken"] += 1
            return
        if kind == "bad line":
            await stream.send_all(b"0")
            self.sent += 1
        stream.send_eof()
        while data := await stream.recv(4096):
            self.received += len(data)
        self.closes["bad_line" if kind == "bad line" else "finished"] += 1

    async def _no_handshake(self, stream: runtime.Stream) -> None:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(runtime.BrokenError):
            while await stream.recv(4096):
                pass
        self.closes["handshake_failed"] += 1


async def ledger(ports: dict[str, int], connections: int, requests: int, ca: str) -> None:
    books = Books(ports, requests, ssl.create_default_context(cafile=ca))
    permits = runtime.Semaphore(CONNECTING)
    await runtime.join_all(books.serve(number, permits) for number in range(connections))
    say(
        requests=books.requests,
        received=books.sent,
        sent=books.received,
        closes=books.closes,
    )
    await told()


if __name__ == "__main__":
    main(ledger)
