"""Several worker processes behind one set of listeners, and who looks after them.

The supervisor opens the listeners once, and the workers inherit them. With a socket for each
worker (SO_REUSEPORT) the kernel would share connections out evenly, but reset those that wait
at a worker which ends; here they wait for any of the others. It does not serve itself, and has no
threads, so that it can fork at any time: one loop over the workers' control sockets and the
interpreter's wakeup descriptor, which ends its wait when a signal has come.

A worker that ends unasked is replaced, at once the first time and with growing pauses when that
does not help. Its connections are lost, its counts are not: the totals hold what it last
said, at its end if it came to that, else up to a second before (``figures_age`` in the log).
"""

import contextlib
import json
import logging
import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import FrameType

from server import limits, listeners, logs, metrics, parsers, signals, stderr, stdout
from server.config import Settings
from server.engines import Engine
from server.errors import UsageError
from server.instance import State
from server.listeners import Listener
from server.metrics import Counters, Snapshot
from server.parsers import Address
from server.systemd.notify import Notifier
from server.tls import Certificate
from server.workers import worker
from server.workers.children import Child, Place
from server.workers.control import GRACE, Channel, Message
from server.workers.queries import Queries, Query

POLL = 1.0
"""Seconds between two looks at what each worker has counted."""

_HANDLED = signals.REPORTING | signals.STOPPING | {signal.SIGCHLD}


class Supervisor:
    """The workers of one server, from the first fork to the last exit."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        opened: Sequence[Listener],
        certificate: Certificate | None,
        notifier: Notifier,
    ) -> None:
        self._settings = settings
        self._opened = opened
        self._certificate = certificate
        self._notifier = notifier
        self._places = []
        for share in limits.shares(settings.max_connections, settings.workers):
            own = replace(settings, max_connections=share)
            self._places.append(Place(partial(worker.serve, engine, own, opened, certificate)))
        if settings.admin is not None:
            self._places.append(Place(self._admin_body(settings.admin), is_worker=False))
        self._announced = ""
        """Where the admin port listens, if there is one."""
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._arrived: list[int] = []
        """Signals. The wakeup descriptor only wakes, since what it has no room for is lost."""
        self._past = Counters().snapshot()
        """The figures of the workers that have ended."""
        self._queries = Queries()
        self._served = False
        self._stopping = False
        self._kill_at = math.inf
        self._poll_at = self._ping_at = time.monotonic()
        self._released = False
        self._status = 0
        self._fault: str | None = None
        """Why the server could not begin; the operator's if the status is 2."""
        self._serving_status = f"{settings.workers} workers serve"

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT, then drain. Returns the exit status."""
        with self._signals():
            while self._turn():
                pass
        if self._fault is None:
            logs.stopped(metrics.add(self._snapshots()))
        elif self._status == 2:
            raise UsageError(self._fault)
        else:
            stderr.say(f"c10k-server: {self._fault}")
        return self._status

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals end the loop's wait; in the end they are blocked, as all is done then."""
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        for number in _HANDLED:
            signal.signal(number, self._arrive)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        try:
            yield
        finally:
            signals.block()
            signal.set_wakeup_fd(-1)
            self._selector.close()
            self._wake_read.close()
            self._wake_write.close()

    def _turn(self) -> bool:
        """Do what is due, wait for what comes next; False when all processes are gone."""
        now = time.monotonic()
        self._start_due(now)
        self._look_after(now)
        if self._stopping and not self._children():
            return False
        for key, events in self._selector.select(max(0.0, self._next_due() - now)):
            if key.data is None:
                self._wake_read.recv(4096)
                arrived, self._arrived = self._arrived, []
                for number in arrived:
                    self._on_signal(number)
            else:
                self._on_channel(key.data, events)
        return True

    def _next_due(self) -> float:
        return min(
            [self._poll_at, self._kill_at]
            + [place.due for place in self._places if place.child is None and not self._stopping]
            + self._queries.deadlines()
            + ([self._ping_at] if self._notifier.interval else [])
        )

    def _children(self) -> list[Child]:
        return [place.child for place in self._places if place.child]

    def _workers(self) -> list[Child]:
        return [place.child for place in self._places if place.child and place.is_worker]

    # Starting.

    def _start_due(self, now: float) -> None:
        for place in self._places:
            if place.child is None and place.due <= now and not self._stopping:
                try:
                    place.child = self._fork(place.body)
                except OSError as error:
                    self._could_not_start(place, f"cannot fork: {error.strerror}", now)
                else:
                    sock = place.child.channel.sock
                    self._selector.register(sock, selectors.EVENT_READ, place)

    def _fork(self, body: worker.Body) -> Child:
        ours, theirs = socket.socketpair()
        # A signal in the child, before it has let go of the wakeup descriptor, would come to us.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                worker.run(partial(self._in_child, ours, body), theirs)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        now = time.monotonic()
        return Child(pid, Channel(ours), born=now, heard_at=now, beat_at=now)

    def _in_child(self, ours: socket.socket, body: worker.Body, theirs: socket.socket) -> None:
        """Let go of everything that is the supervisor's."""
        ours.close()
        signal.set_wakeup_fd(-1)
        for number in _HANDLED | {signal.SIGALRM}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals.REPORTING | signals.STOPPING)
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()
        for child in self._children():
            child.channel.sock.close()
        body(theirs)

    def _on_serving(self, place: Place, child: Child, address: str) -> None:
        child.serving = True
        child.state = State.SERVING
        if not place.is_worker:
            # Port 0 has become the kernel's choice, at which a replacement is looked for.
            self._announced = f"listening admin {address}\n"
            place.body = self._admin_body(parsers.address(address))
        if self._served or self._stopping:
            return
        if all(place.child and place.child.serving for place in self._places):
            self._served = True
            try:
                listeners.announce(self._opened)
                stdout.say(self._announced)
            except UsageError as error:
                self._status = 2
                self._fail(str(error))
            else:
                self._notifier.ready(self._serving_status)

    def _admin_body(self, address: Address) -> worker.Body:
        return partial(worker.serve_admin, replace(self._settings, admin=address), self._opened)

    def _could_not_start(self, place: Place, reason: str, now: float) -> None:
        if not self._served:
            self._status = 2
            self._fail(f"{reason}; ask for fewer --workers")
            return
        pause = place.backoff.after(0.0)
        place.due = now + pause
        logs.event(logging.ERROR, f"cannot start {place.name}", error=reason, restart_in=pause)

    def _fail(self, fault: str) -> None:
        """The server cannot begin; those that could already are drained."""
        self._fault = fault
        self._stop()

    # What the processes say.

    def _on_channel(self, place: Place, events: int) -> None:
        child = place.child
        if child is None:
            return  # it has ended in this same turn
        if events & selectors.EVENT_WRITE:
            child.channel.flush()
        if events & selectors.EVENT_READ:
            self._hear(place, child)
        self._watch(place, child)

    def _watch(self, place: Place, child: Child) -> None:
        """Wait for what this channel can do next; at its end SIGCHLD is all that is to come."""
        if child.channel.ended:
            self._unwatch(child)
        else:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.channel.full else 0)
            self._selector.modify(child.channel.sock, events, place)

    def _unwatch(self, child: Child) -> None:
        if child.channel.sock in self._selector.get_map():
            self._selector.unregister(child.channel.sock)

    def _hear(self, place: Place, child: Child) -> None:
        for message in child.channel.receive():
            match message:
                case {"serving": str(address)}:
                    self._on_serving(place, child, address)
                case {"failed": str(reason)}:
                    child.failed = reason
                case {"snapshot": snapshot, "state": state, "beat_at": beat_at}:
                    child.snapshot, child.heard_at = snapshot, time.monotonic()
                    child.state, child.beat_at = State(state), beat_at
                    child.asked, child.final = False, message.get("final", False)
                    self._queries.answered("snapshots", child.pid)
                case {"tasks": str(text)}:
                    self._queries.answered("tasks", child.pid, text)
                case {"ask": str(word), "number": int(number)}:
                    self._ask_all(word, number)

    def _request(self, place: Place, child: Child, word: str) -> None:
        child.channel.request(word)
        self._watch(place, child)

    def _to_workers(self, word: str) -> None:
        for place in self._places:
            if place.child and place.is_worker:
                self._request(place, place.child, word)

    def _ask_for_figures(self) -> None:
        for place in self._places:
            if place.child and place.is_worker and not place.child.asked:
                place.child.asked = True
                self._request(place, place.child, "snapshot")

    # What the admin port asks.

    def _ask_all(self, word: str, number: int) -> None:
        # A probe must not wait for a worker that hangs, so it gets what they said last.
        pids = [child.pid for child in self._workers()] if word != "workers" else []
        self._queries.ask(word, number, pids, time.monotonic())
        if word == "tasks":
            self._to_workers("tasks")
        elif word == "snapshots":
            self._ask_for_figures()

    def _answer(self, now: float) -> None:
        for query in self._queries.done(now):
            reply = {"number": query.number, **self._reply_to(query, now)}
            for place in self._places:
                if place.child and not place.is_worker:
                    self._request(place, place.child, json.dumps(reply))

    def _reply_to(self, query: Query, now: float) -> Message:
        if query.word == "tasks":
            silent = dict.fromkeys(query.waiting, "no answer\n")
            texts = sorted({**query.texts, **silent}.items())
            return {"tasks": "".join(f"worker {pid}\n{text}\n" for pid, text in texts)}
        if query.word == "snapshots":
            return {"snapshots": self._snapshots()}
        workers = self._workers()
        return {"workers": [(each.pid, self._state(each), now - each.beat_at) for each in workers]}

    def _state(self, child: Child) -> State:
        """A worker that hangs does not know that it is to drain."""
        return State.DRAINING if self._stopping else child.state

    def _snapshots(self) -> list[Snapshot]:
        return [self._past, *(each.snapshot for each in self._workers() if each.snapshot)]

    # Signals.

    def _arrive(self, number: int, _frame: FrameType | None) -> None:
        """The handler. A second signal of a kind may mean something else; a third does not."""
        if self._arrived.count(number) < 2:
            self._arrived.append(number)

    def _on_signal(self, number: int) -> None:
        match number:
            case signal.SIGCHLD:
                self._reap()
            case signal.SIGHUP:
                self._reload()
            case signal.SIGUSR1:
                self._pass_on(number)
            case _ if not self._stopping:
                self._stop()
            case _:
                self._status = 128 + number
                self._kill_all()

    def _reload(self) -> None:
        """Here first: the workers to come inherit this one. If it is bad, once is enough."""
        with self._notifier.reloading():
            if signals.reload(self._certificate):
                self._pass_on(signal.SIGHUP)

    def _pass_on(self, number: int) -> None:
        for child in self._workers():
            os.kill(child.pid, number)  # it is not reaped, so the number is still its own

    def _reap(self) -> None:
        for place in self._places:
            if place.child and (ended := os.waitpid(place.child.pid, os.WNOHANG))[0]:
                child = place.child
                self._hear(place, child)  # what it said at the end
                place.child = None
                self._unwatch(child)
                child.channel.sock.close()
                self._on_end(place, child, os.waitstatus_to_exitcode(ended[1]))

    # Ends.

    def _on_end(self, place: Place, child: Child, code: int) -> None:
        now = time.monotonic()
        how = _signal_name(-code) if code < 0 else f"exit status {code}"
        if place.is_worker:
            self._queries.gone(child.pid)
            if figures := child.past():
                self._past = metrics.add([self._past, figures])
        else:
            self._queries.forget()
        if self._stopping:
            if code and self._fault is None:  # else all may have the same one
                logs.event(logging.ERROR, f"{place.name} ended badly", pid=child.pid, by=how)
                self._status = self._status or 1
        elif not self._served:
            self._status = 2 if child.failed else 1
            self._fail(child.failed or f"{place.name} {child.pid} ended before it served: {how}")
        else:
            pause = place.backoff.after(now - child.born)
            place.due = now + pause
            logs.event(
                logging.ERROR,
                f"{place.name} died",
                pid=child.pid,
                by=child.failed or how,
                restart_in=pause,
                figures_age=0.0 if child.final else round(now - child.heard_at, 3),
            )

    def _stop(self) -> None:
        """Close the listeners and let the workers drain."""
        if self._stopping:
            return
        self._stopping = True
        self._kill_at = time.monotonic() + self._settings.drain_timeout + GRACE
        self._notifier.stopping()
        for each in self._opened:
            each.sock.close()
        self._to_workers("drain")

    def _look_after(self, now: float) -> None:
        """What is due by the clock."""
        if now >= self._poll_at:
            self._poll_at = now + min(POLL, self._notifier.interval or POLL)
            self._ask_for_figures()
        if self._notifier.interval and now >= self._ping_at:
            self._ping_at = now + self._notifier.interval
            self._notifier.alive(max((now - each.beat_at for each in self._workers()), default=0.0))
        self._answer(now)
        if self._stopping and not self._released and not self._workers():
            self._release_admin(now)
        if now >= self._kill_at:
            self._kill_at = math.inf
            for child in self._children():
                logs.event(logging.ERROR, "killed: it did not end in time", pid=child.pid)
            self._kill_all()

    def _release_admin(self, now: float) -> None:
        """The admin port answers until the last worker is gone."""
        self._released = True
        self._kill_at = now + GRACE
        for child in self._children():
            child.channel.sock.shutdown(socket.SHUT_WR)

    def _kill_all(self) -> None:
        for child in self._children():
            os.kill(child.pid, signal.SIGKILL)


def _signal_name(number: int) -> str:
    named = {each.value: each.name for each in signal.Signals}  # of the real-time ones, two
    return named.get(number, f"signal {number}")
