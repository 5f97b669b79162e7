"""What the server tells the service manager that started it: systemd's sd_notify(3).

A datagram to the socket that ``NOTIFY_SOCKET`` names, so it needs no library. READY is said when
connections are accepted, not when the process is up, and WATCHDOG only as long as the loops are
alive: a server that hangs is restarted although it exists. The variables are taken out of the
environment, since what concerns this process is not for its children.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, MutableMapping

from server import logs

SEND_TIMEOUT = 1.0
"""Seconds for a service manager whose queue is full."""

PINGS = 4
"""In the time after which the service manager gives us up."""


class Notifier:
    """The service manager; without one, everything here does nothing."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL of the abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environ.pop("WATCHDOG_USEC", "")
        for_us = environ.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._timeout = 0.0
        if self._address and for_us and microseconds.isdecimal():
            self._timeout = int(microseconds) / 1e6
        self.interval: float | None = self._timeout / PINGS or None
        """Seconds between two calls of ``alive``; None if nobody waits for them."""

    def ready(self, status: str) -> None:
        """Connections are accepted; also after a reload."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
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
