"""Stops in the middle of TLS handshakes, each at another byte of what a client says.

That is its hello, a second one if the server wants another key, and the end of the handshake.
"""

import contextlib
import ssl
import time

import runtime
from tests.torture.client import CONNECTING, main, say, source, stand_back, told


class Handshake:
    """A client's side, as far as it has come."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        self.is_over = False

    def go_on(self, heard: bytes) -> bytes:
        """What the client says next; nothing if it has to hear more before."""
        self._incoming.write(heard)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            self.is_over = True
        return self._outgoing.read()


async def converse(stream: runtime.Stream, context: ssl.SSLContext, most: int) -> int:
    """Make a handshake, but stop for ever after so many bytes; how many there were to say.

    It is over, too, if the server does not wait any longer.
    """
    handshake, said, heard = Handshake(context), 0, b""
    while said <= most and not handshake.is_over:
        while not (words := handshake.go_on(heard)):
            heard = await stream.recv(65536)
            if not heard:
                return said
        await stream.send_all(words[: max(0, most - said)])
        said += len(words)
        heard = b""
    return said


async def until_closed(stream: runtime.Stream) -> None:
    with contextlib.suppress(runtime.BrokenError):
        while await stream.recv(65536):
            pass


async def stalls(port: int, count: int, ca: str) -> None:
    stand_back()
    context = ssl.create_default_context(cafile=ca)
    permits = runtime.Semaphore(CONNECTING)
    async with await runtime.connect("127.0.0.1", port) as stream:
        length = await converse(stream, context, 1 << 20)
    seconds: list[float] = []
    stalled = 0

    async def stall(number: int) -> None:
        nonlocal stalled
        async with permits:
            began = time.monotonic()
            stream = await runtime.connect("127.0.0.1", port, local_address=source(number))
            await converse(stream, context, number * (length - 1) // count)
        stalled += 1
        if stalled == count:
            say(stalled=count)
        async with stream:
            await until_closed(stream)
        seconds.append(time.monotonic() - began)

    await runtime.join_all(stall(number) for number in range(count))
    say(first=min(seconds), last=max(seconds))
    await told()


if __name__ == "__main__":
    main(stalls)
