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


def max_connections(asked: int | None, fd_limit: int, workers: int = 1) -> int:
    """The effective maximum: what was asked for if it fits, else all that the limit holds.

    The limit is one of each process, so as many workers hold as many times more.
    """
    each = fd_limit - RESERVED_FDS
    if each < 1:
        raise UsageError(
            f"at most {fd_limit} files may be open, of which the server itself needs "
            f"{RESERVED_FDS}; raise the hard limit (ulimit -Hn)"
        )
    most = each * workers
    if asked is None:
        return most
    if asked > most:
        per_worker = " in each worker" if workers > 1 else ""
        needed = max(shares(asked, workers)) + RESERVED_FDS
        raise UsageError(
            f"max-connections {asked} needs {needed} open files{per_worker} but the "
            f"limit is {fd_limit}; ask for at most {most} or raise the hard limit (ulimit -Hn)"
        )
    if asked < workers:
        raise UsageError(
            f"max-connections {asked} leaves some of {workers} workers without any; "
            f"ask for {workers} or more, or for fewer workers"
        )
    return asked


def shares(total: int, workers: int) -> list[int]:
    """How many of the connections each worker may have."""
    return [total // workers + (index < total % workers) for index in range(workers)]
