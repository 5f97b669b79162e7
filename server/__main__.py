"""The command ``python -m server``, also installed as ``c10k-server``."""

import os
import sys
from collections.abc import Sequence

from server import config, engines, limits, listeners, logs, stdout
from server.errors import UsageError
from server.instance import Instance
from server.tls import Certificate


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain. Returns the exit status."""
    try:
        settings, check_only = config.load(argv, os.environ, limits.raise_fd_limit())
        if check_only:
            stdout.say(settings.as_toml())
            return 0
        logs.configure(settings.log_format)
        run = engines.load(settings.mode)
        certificate = Certificate(settings) if settings.tls_cert is not None else None
        with listeners.open_listeners(settings) as opened:
            run(Instance(settings, opened, certificate, lambda: listeners.announce(opened)))
    except UsageError as error:
        sys.stderr.write(f"c10k-server: {error}\n")
        return 2
    except KeyboardInterrupt:
        # Before an engine has taken over SIGINT there is nothing to drain.
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
