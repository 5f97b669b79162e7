"""What the server tells the service manager that started it: systemd's sd_notify(3).

A datagram to the socket that ``NOTIFY_SOCKET`` names, so it needs no library. READY is said when
connections are accepted, not when the process is up, and WATCHDOG only as long as the loops are
alive: a server that hangs is restarted although it exists. The variables are taken out of the
environment, since what concerns this process is not for its children.
"""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping

from server import logs, parsers

SEND_TIMEOUT = 1.0
"""Seconds for a service manager whose queue is full."""

PINGS = 4
"""In the time after which the service manager gives us up."""


_MICROSECONDS = parsers.whole_number(1000, 10**15)
"""What a watchdog's time may be, for a loop that asks the clock and a clock that can be asked."""


class Notifier:
    """The service manager; without one, everything here does nothing."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL of the abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environ.pop("WATCHDOG_USEC", "")
        for_us = environ.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._timeout = 0.0
        if self._address and for_us:
            with contextlib.suppress(ValueError):
                self._timeout = _MICROSECONDS(microseconds) / 1e6
        self.interval: float | None = self._timeout / PINGS or None
        """Seconds between two calls of ``alive``; None if nobody waits for them."""
        self._ready = ""
        """What it was told last; empty while it is not to take the server for ready."""

    def ready(self, status: str) -> None:
        """Connections are accepted."""
        self._ready = f"READY=1\nSTATUS={status}"
        self._send(self._ready)

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """A reload, which may come before the server is ready, or after: it does not make it so."""
        if self._ready:
            self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        yield
        if self._ready:
            self._send(self._ready)

    def stopping(self) -> None:
        self._ready = ""
        self._send("STOPPING=1\nSTATUS=draining")

    def alive(self, beat_age: float) -> None:
        """Reset the watchdog if the loop was seen alive so many seconds ago."""
        if beat_age <= self._timeout / 2:
            self._send("WATCHDOG=1")

    def watch(self, beat_age: Callable[[], float]) -> None:
        """Do that from a thread, if it is asked for."""
        if self.interval is not None:
            threading.Thread(
                target=self._watch, args=(self.interval, beat_age), name="watchdog", daemon=True
            ).start()

    def _watch(self, interval: float, beat_age: Callable[[], float]) -> None:
        while True:
            self.alive(beat_age())
            time.sleep(interval)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(SEND_TIMEOUT)
                sock.connect(self._address)
                sock.send(message.encode())
        except OSError as error:
            logs.often(logging.WARNING, "cannot notify the service manager", error=str(error))
