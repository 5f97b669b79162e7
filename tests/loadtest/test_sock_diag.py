"""The kernel's own count of connections is that of one end of one port, and of none that ended."""

import os
import socket

from loadtest.host import kernel, sock_diag


def test_one_end_of_each_connection_of_one_port_is_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port, other_port = listener.getsockname()[1], other.getsockname()[1]
        assert sock_diag.established(port) == 0
        ends = []
        for _ in range(40):
            ends += [socket.create_connection(("127.0.0.1", port)), listener.accept()[0]]
        elsewhere = [socket.create_connection(("127.0.0.1", other_port)), other.accept()[0]]
        assert sock_diag.established(port) == 40
        assert sock_diag.established(port) == kernel.accepted(os.getpid(), "127.0.0.1", port)
        assert sock_diag.established(other_port) == 1
        for end in ends[:20]:
            end.close()
        assert sock_diag.established(port) == 30
        for end in [*ends[20:], *elsewhere]:
            end.close()


def test_an_answer_in_many_parts_is_counted_whole() -> None:
    """The kernel sends some hundred sockets at a time."""
    with socket.create_server(("127.0.0.1", 0), backlog=600) as listener:
        port = listener.getsockname()[1]
        ends = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
        assert sock_diag.established(port) == 400  # established, though nobody has accepted them
        for end in ends:
            end.close()
