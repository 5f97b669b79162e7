"""The signals of a serving process, taken by threads that do nothing else.

A handler written in Python runs between two lines of the main thread, so it can lock up on a lock
that the interrupted line holds, and it waits for as long as that thread is in a call that does not
return: just when somebody wants to know where the server hangs. So the signals are blocked in
every thread, and two threads wait for them with ``sigwait``: one for those that ask for a report,
one for those that ask for the end, as a report can be stuck on its way to the log. They are prompt
on every engine, whether its loop sleeps, computes or hangs.

The engines keep their own handlers for SIGTERM and SIGINT and hear of the first one as if the
kernel had sent it. The second one ends the process at once, whatever the engine has come to; there
is no moment at the end of a drain in which it would find nobody.
"""

import _thread
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import NoReturn

from server import logs
from server.instance import Instance, State
from server.tls import Certificate

REPORTING = frozenset({signal.SIGHUP, signal.SIGUSR1})
STOPPING = frozenset({signal.SIGTERM, signal.SIGINT})

Action = Callable[[signal.Signals], object]


def block() -> None:
    """From now on, and in all threads to come, no signal of ours interrupts anything."""
    signal.pthread_sigmask(signal.SIG_BLOCK, REPORTING | STOPPING)


def block_reporting() -> None:
    """The same for those whose default is to kill; they wait until somebody answers them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, REPORTING)


def answer(actions: Mapping[signal.Signals, Action]) -> None:
    """Start the thread that runs an action for each of the signals, which are blocked."""
    threading.Thread(target=_answer, args=(actions,), name="signals", daemon=True).start()


def _answer(actions: Mapping[signal.Signals, Action]) -> NoReturn:
    while True:
        number = signal.Signals(signal.sigwait(actions))
        try:
            actions[number](number)
        except Exception:
            logs.logger.exception("signal not answered")


def reporting(instance: Instance, on_hangup: Callable[[], object]) -> dict[signal.Signals, Action]:
    """What SIGHUP and SIGUSR1 do in a process that serves."""
    return {
        signal.SIGHUP: lambda _number: on_hangup(),
        signal.SIGUSR1: lambda _number: write_tasks(instance),
    }


def stopping(instance: Instance) -> dict[signal.Signals, Action]:
    """What SIGTERM and SIGINT do: drain the first time, exit the second."""
    asked = False

    def stop(number: signal.Signals) -> None:
        nonlocal asked
        # Until it serves there is nothing to drain, and the engine's handlers may not be there.
        if asked or instance.state is State.STARTING:
            os._exit(128 + number)
        asked = True
        drain(number)

    return dict.fromkeys(STOPPING, stop)


def drain(number: signal.Signals) -> None:
    """Let the engine's own handler of SIGTERM or SIGINT run, and end its poll. Any thread."""
    _thread.interrupt_main(number)


def reload(certificate: Certificate | None) -> bool:
    """Read the certificate again; whether it is in use."""
    if certificate is None:
        logs.event(logging.INFO, "nothing to reload: there is no certificate")
        return False
    return certificate.reload()


def write_tasks(instance: Instance) -> None:
    """Log what each task or thread is doing."""
    logs.text("tasks", instance.describe_tasks())
