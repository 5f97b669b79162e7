"""The command ``python -m server``, also installed as ``c10k-server``."""

import contextlib
import os
import sys
from collections.abc import Sequence

from server import admin, config, engines, limits, listeners, logs, signals, stderr, stdout
from server.config import Settings
from server.engines import Engine
from server.errors import UsageError
from server.instance import Instance
from server.listeners import Listener
from server.source import InstanceSource, beat_age
from server.systemd import activation
from server.systemd.notify import Notifier
from server.tls import Certificate
from server.workers.supervisor import Supervisor


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain. Returns the exit status."""
    stderr.secure()
    try:
        signals.block_reporting()
        given = activation.names(os.environ)
        notifier = Notifier(os.environ)
        settings, check_only = config.load(
            argv, os.environ, limits.raise_fd_limit(), sockets_given=bool(given)
        )
        if check_only:
            stdout.say(settings.as_toml())
            return 0
        logs.configure(settings.log_format)
        engine = engines.load(settings.mode)
        certificate = Certificate(settings) if settings.tls_cert is not None else None
        sockets = (
            activation.adopt_listeners(settings, given)
            if given
            else listeners.open_listeners(settings)
        )
        with sockets as opened:
            if settings.workers > 1:
                return Supervisor(settings, engine, opened, certificate, notifier).run()
            _serve(settings, engine, opened, certificate, notifier)
    except UsageError as error:
        stderr.say(f"c10k-server: {error}")
        return 2
    except KeyboardInterrupt:
        # Before an engine has taken over SIGINT there is nothing to drain.
        return 130
    return 0


def _serve(
    settings: Settings,
    engine: Engine,
    opened: Sequence[Listener],
    certificate: Certificate | None,
    notifier: Notifier,
) -> None:
    """Serve in this process, without others."""

    announced = list(opened)

    def on_serving() -> None:
        listeners.announce(announced)
        notifier.ready("serving")
        notifier.watch(lambda: beat_age(instance))

    def on_hangup() -> None:
        with notifier.reloading():
            signals.reload(certificate)

    instance = Instance(settings, opened, certificate, on_serving, on_draining=notifier.stopping)
    signals.block()
    # Two threads: a report may wait for ever, on whoever reads the log, and an end must not.
    signals.answer(signals.reporting(instance, on_hangup))
    signals.answer(signals.stopping(instance))
    with contextlib.ExitStack() as stack:
        if settings.admin is not None:
            server = admin.start(InstanceSource(instance), settings)
            stack.enter_context(contextlib.closing(server))
            announced.append(server.listener)
        engine(instance)


if __name__ == "__main__":
    sys.exit(main())
