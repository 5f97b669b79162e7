"""The admin port: a thread that answers HTTP, also while the engine's loop hangs.

In it runs this project's own runtime, whatever the engine is. The thread takes no signals, which
are the engine's, and no part in the drain: it answers until the engine has returned.
"""

import signal
import threading

import runtime
from server.admin.http import HttpServer
from server.admin.pages import Pages
from server.listeners import Listener
from server.parsers import Address
from server.source import Source

CLOSE_TIMEOUT = 2.0
"""Seconds to wait for the thread, which as a daemon keeps no process from its end."""


class AdminServer:
    """A running admin port. Close it when done."""

    def __init__(self, listener: Listener, source: Source, mode: str) -> None:
        self.listener = listener
        self.address: Address = listener.address
        self._source = source
        self._mode = mode
        self._closing = False
        self._waker: runtime.Waker | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="admin", daemon=True)
        self._thread.start()
        self._begun.wait()

    def close(self) -> None:
        """Stop answering; once more: nothing. Any thread."""
        self._closing = True
        waker, self._waker = self._waker, None
        if waker is not None:
            waker.wake()
        self._thread.join(CLOSE_TIMEOUT)
        self.listener.sock.close()

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            runtime.run(self._serve())
        finally:
            self._begun.set()

    async def _serve(self) -> None:
        pages = Pages(self._source, self._mode)
        server = HttpServer(runtime.Listener(self.listener.sock), pages.respond)
        async with runtime.TaskGroup() as group:
            group.spawn(server.serve())
            self._waker = runtime.current_waker()
            self._begun.set()
            while not self._closing:
                await runtime.park()
            group.cancel_scope.cancel()
