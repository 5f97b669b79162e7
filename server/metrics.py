"""What an engine counts, the same in all of them.

Only events of a connection's life are counted, never single echoes: an addition per echo would
weigh on the engines unequally, and their cost per echo is what this project compares.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Totals since the start; an engine logs them when it stops."""

    connections: int = 0
    """Accepted."""
    finished: int = 0
    """Ended in order: by the peer's end of stream, or by ours after a fatal error line."""
    broken: int = 0
    """Ended by the peer's reset, a broken pipe or another network error."""
    aborted: int = 0
    """Still open at the drain's deadline, and cut off."""
    accept_errors: int = 0
    """Failed attempts to accept."""
