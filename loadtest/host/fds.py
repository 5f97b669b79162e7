"""The limit on open files, raised as far as this process may raise it.

Every connection is a file descriptor, and the soft limit a shell hands out (often 1,024; always
1,024 in containers of Docker 29) is far under the hard one. Raising soft to hard needs no
privilege, so whoever holds connections does it before the first. Locust raises only to 10,000.
"""

import resource
from dataclasses import dataclass

# What a process needs beside its connections: standard streams, pollers, pipes, modules.
SPARE_FDS = 64


@dataclass(frozen=True)
class FdLimit:
    """Open files this process may have: now (``soft``) and at most (``hard``)."""

    soft: int
    hard: int


def fd_limit() -> FdLimit:
    """The limits as they stand, with "unlimited" as a number of its own size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return FdLimit(soft=_finite(soft), hard=_finite(hard))


def raise_fd_limit() -> int:
    """Raise the soft limit to the hard one and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return _finite(hard)


def _finite(limit: int) -> int:
    return 2**31 - 1 if limit == resource.RLIM_INFINITY else limit
