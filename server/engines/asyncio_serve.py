"""The life of an asyncio engine: accept, keep time, and drain on a signal."""

import asyncio
import contextlib
import functools
import logging
import os
import signal
import threading
from collections.abc import Mapping

from server import logs
from server.deadlines import Deadlines
from server.drain import Drain
from server.engines import asyncio_tasks
from server.engines.asyncio_accept import Acceptor, ConnectionFactory
from server.instance import Instance
from server.metrics import Closed

CUT_BURST = 16
"""Cut off in a row: a thousand that are overdue at the same time leave the others their turn."""

ABORT_GRACE = 1.0
"""Seconds for the loop to finish the connections that the drain's deadline aborted."""


async def serve(
    instance: Instance,
    services: Mapping[str, ConnectionFactory],
    *,
    native_accept: bool,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once."""
    loop = asyncio.get_running_loop()
    acceptor = Acceptor(instance, services)
    instance.describe_tasks = functools.partial(
        asyncio_tasks.describe, loop, threading.get_ident(), acceptor.live
    )
    stopping = asyncio.Event()

    def on_signal(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    await acceptor.start(native_accept=native_accept)
    instance.serving()  # before there is a group: it may raise
    async with asyncio.TaskGroup() as group:
        timekeeping = group.create_task(_keep_time(instance, acceptor))
        await stopping.wait()  # no deadline: it is the operator's to end
        instance.draining()
        await _drain(acceptor)
        timekeeping.cancel()
    logs.stopped(instance.snapshot())


async def _keep_time(instance: Instance, acceptor: Acceptor) -> None:
    """Say that the loop is alive and cut off what is overdue, until cancelled."""
    deadlines = Deadlines(instance.settings)
    while True:
        await asyncio.sleep(deadlines.interval)
        instance.beat(deadlines.interval)
        for number, (connection, reason) in enumerate(deadlines.overdue(acceptor.live), start=1):
            connection.cut_off(reason)
            if number % CUT_BURST == 0:
                await asyncio.sleep(0)


async def _drain(acceptor: Acceptor) -> None:
    """Close the listeners, answer what was received, abort what is open at the deadline."""
    acceptor.stop()
    logs.event(logging.INFO, "draining", connections=len(acceptor.live))
    drain = Drain(acceptor.settings.drain_timeout)

    def shut_reading(fd: int) -> bool:
        connection = acceptor.live.get(fd)
        return connection is None or connection.shut_reading()

    while acceptor.live and (seconds := drain.step(tuple(acceptor.live), shut_reading)):
        await _all_closed_within(acceptor, seconds)
    if acceptor.live:
        logs.event(logging.WARNING, "drain timeout", aborted=len(acceptor.live))
        for connection in tuple(acceptor.live.values()):
            connection.cut_off(Closed.ABORTED)
        await _all_closed_within(acceptor, ABORT_GRACE)


async def _all_closed_within(acceptor: Acceptor, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await acceptor.all_closed.wait()
