"""How many connections this process can hold.

Each connection is a file descriptor. The soft limit on them is often 1,024 where the hard one
is far higher, so the server raises the first to the second when it starts and derives the
maximum number of connections from it. Whoever asks for more is told at once, not by EMFILE
at the worst moment.
"""

import resource

from server.errors import UsageError

RESERVED_FDS = 64
"""Kept for everything that is no connection: listeners, the poller, logs, libraries."""


def raise_fd_limit() -> int:
    """Raise the soft limit on open files to the hard one; returns the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def max_connections(asked: int | None, fd_limit: int) -> int:
    """The effective maximum: what was asked for if it fits, else all that the limit holds."""
    most = fd_limit - RESERVED_FDS
    if most < 1:
        raise UsageError(
            f"at most {fd_limit} files may be open, of which the server itself needs "
            f"{RESERVED_FDS}; raise the hard limit (ulimit -Hn)"
        )
    if asked is None:
        return most
    if asked > most:
        raise UsageError(
            f"max-connections {asked} needs {asked + RESERVED_FDS} open files but the limit is "
            f"{fd_limit}; ask for at most {most} or raise the hard limit (ulimit -Hn)"
        )
    return asked
