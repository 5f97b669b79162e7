"""Whatever error a system call reports, at most the connection it was made for ends.

The kernel can fail any call, and most of these errors no test can bring about otherwise: strace
reports them in the kernel's place. Each engine makes calls of its own, so the table names those
that it was seen to make. ``EAGAIN`` where something is ready is left out: the kernel does not say
that, and an engine that hears of each change once must be able to believe it.
"""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from tests.server.conftest import Start
from tests.server.harness import Authority, ServerProcess, eventually, receive
from tests.torture import strace
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(11)


class Calls(NamedTuple):
    """The system calls of an engine; None where it makes none, or gives it to another thread."""

    accept: str
    receive: str
    send: str
    wait: str
    register: str | None
    begin: str | None = None


LIBUV = Calls("accept4", "read", "write", "epoll_pwait", None)  # registers through io_uring

CALLS = {
    "runtime": Calls("accept4", "recvfrom", "sendto", "epoll_wait", "epoll_ctl"),
    # asyncio lets a connection hang that it cannot register: nobody gets the error.
    "asyncio": Calls("accept4", "recvfrom", "sendto", "epoll_wait", None),
    "uvloop": LIBUV,
    "uvloop-protocol": LIBUV,
    "threads": Calls("accept4", "recvfrom", "sendto", "poll", None, "clone3"),
}

DIED_IN_BACKLOG = (
    *("EINTR", "ECONNABORTED", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENONET"),
    *("ENOPROTOOPT", "EOPNOTSUPP", "EPERM", "EPROTO", "ETIMEDOUT"),
)
SHORTAGE = ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM")
BROKEN = (
    *("EINTR", "ECONNRESET", "ECONNABORTED", "EPIPE", "ETIMEDOUT", "ENOBUFS", "ENOMEM", "EPERM"),
    *("EHOSTUNREACH", "EHOSTDOWN", "ENETDOWN", "ENETUNREACH", "EPROTO", "ENOTCONN", "EIO"),
)

ONCE, THRICE = "1", "1..3"


class Case(NamedTuple):
    """What a call is for, which of the calls fail, with what, and on which listener."""

    operation: str
    error: str
    when: str = ONCE
    service: str = "echo"

    @property
    def is_new(self) -> bool:
        """Whether it happens to a connection that is still to be served."""
        return self.operation in ("accept", "register", "begin")


CASES = (
    *(
        Case("accept", error, when)
        for error in DIED_IN_BACKLOG + SHORTAGE
        for when in (ONCE, THRICE)
    ),
    *(
        Case(operation, error, ONCE, service)
        for operation in ("receive", "send")
        for error in BROKEN
        for service in ("echo", "echo-tls")
    ),
    Case("receive", "EINTR", THRICE),
    Case("send", "EINTR", THRICE),
    Case("wait", "EINTR", ONCE),
    Case("wait", "EINTR", THRICE),
    Case("register", "ENOSPC"),
    Case("register", "ENOMEM"),
    Case("begin", "EAGAIN"),
)


@dataclass
class Ledger:
    """A server and what its clients have seen of it."""

    server: ServerProcess
    mode: str
    served: int = 0
    died: int = 0
    """Of those that were served."""
    unserved: int = 0

    @contextlib.contextmanager
    def client(self, service: str = "echo") -> Iterator[socket.socket]:
        """A connection that is served."""
        with connect(self.server, service) as sock:
            ask(sock)
            self.served += 1
            yield sock


def connect(server: ServerProcess, service: str) -> socket.socket:
    plain, _, secure = service.partition("-")
    return server.connect_tls(plain) if secure else server.connect(plain)


def ask(sock: socket.socket) -> None:
    sock.sendall(b"ping")
    assert receive(sock, 4) == b"ping"


def outcome(sock: socket.socket) -> str:
    """What became of a connection on which twice four bytes are to come back.

    Twice, because a thread that waits inside of a call when strace comes is not in its next one.
    """
    return first if (first := once(sock)) != "answered" else once(sock)


def once(sock: socket.socket) -> str:
    try:
        sock.sendall(b"ping")
        data = receive(sock, 4)
    except OSError as error:
        return "hangs" if isinstance(error, TimeoutError) else "died"
    assert data in (b"", b"ping")  # whole or not at all
    return "answered" if data else "died"


@pytest.fixture
def ledger(start: Start, mode: str, authority: Authority) -> Iterator[Ledger]:
    """A server whose counters, in the end, are those of its clients."""
    if obstacle := strace.obstacle():
        pytest.skip(obstacle)
    server = start(authority=authority)
    kept = Ledger(server, mode)
    yield kept
    server.stop()
    closed = server.closed()
    assert set(closed) <= {"finished", "broken", "peer_timeout", "failed"}
    assert closed.pop("finished", 0) == kept.served - kept.died
    assert kept.died <= sum(closed.values()) <= kept.died + kept.unserved


@pytest.mark.parametrize("operation", sorted({case.operation for case in CASES}))
def test_an_error_ends_one_connection_at_most(
    ledger: Ledger, operation: str, scale: Scale, figure: Figures
) -> None:
    call = getattr(CALLS[ledger.mode], operation)
    if call is None:
        pytest.skip("this engine makes no such call, or has nobody who could answer for it")
    cases = [case for case in CASES if case.operation == operation]
    bad = [
        f"{case}: {wrong}" for case in cases[:: scale(3, 1)] if (wrong := fault(ledger, case, call))
    ]
    figure("errors that harmed another connection or the server", len(bad))
    assert not bad


def fault(ledger: Ledger, case: Case, call: str) -> str | None:
    """What is wrong after a call has failed."""
    server = ledger.server
    with (
        ledger.client() as before,
        victim(ledger, case) as (sock, thread),
        ledger.client() as after,
        strace.refusing(thread, call, case.error, case.when),
    ):
        chosen = sock or server.connect(case.service)
        found = outcome(chosen)
        chosen.close()
        for other in (before, after):
            ask(other)
    if case.is_new:
        ledger.served += found == "answered"
        ledger.unserved += found == "died"
    else:
        ledger.died += found == "died"
    with ledger.client():
        pass
    if not eventually(server.is_idle):
        return "a descriptor is left"
    if "Traceback" in server.log():
        return "a traceback is in the log"
    if found == "answered" or (found == "died" and may_die(ledger.mode, case)):
        return None
    return f"the connection {found}"


def may_die(mode: str, case: Case) -> bool:
    """Whether the error is one that a connection need not survive."""
    if case.error == "EINTR":
        return False
    if case.operation == "accept":  # it is still in the backlog; only libuv sheds it
        return CALLS[mode] is LIBUV and case.error in ("EMFILE", "ENFILE")
    return True


@contextlib.contextmanager
def victim(ledger: Ledger, case: Case) -> Iterator[tuple[socket.socket | None, int]]:
    """The connection whose call is to fail, if it exists before, and the thread that makes it."""
    process = ledger.server.process.pid
    known = strace.threads(process)
    if case.is_new:
        yield None, process
    else:
        with ledger.client(case.service) as sock:
            yield sock, max(strace.threads(process) - known, default=process)
