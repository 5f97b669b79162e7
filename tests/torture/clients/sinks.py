"""Clients that send and send, and never read what comes back."""

import socket

import runtime
from runtime import Stream
from tests.torture.client import main, say, stand_back, told

BUFFER = 65536
"""For the kernel on this side: it is the server's memory that they are after."""


async def send_and_never_read(port: int, count: int, size: int) -> None:
    data = bytes(size)
    streams: list[Stream] = []
    for _ in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        sock.connect(("127.0.0.1", port))
        streams.append(Stream(sock))
    stand_back()
    async with runtime.TaskGroup() as group:
        for stream in streams:
            group.spawn(stream.send_all(data))
        say(opened=count)
        await told()
        group.cancel_scope.cancel()


if __name__ == "__main__":
    main(send_and_never_read)
