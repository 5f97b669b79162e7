"""Starts the admin port, if there is to be one.

What it needs is imported only then: who does not ask for it pays nothing for it, and need not have
its libraries.
"""

from typing import TYPE_CHECKING

from server import listeners
from server.config import Settings
from server.errors import UsageError
from server.listeners import Listener
from server.source import Source

if TYPE_CHECKING:
    from server.admin.server import AdminServer


def start(source: Source, settings: Settings) -> "AdminServer":
    """Serve the pages about ``source`` where the settings say, from now until ``close``."""
    try:
        from server.admin.server import AdminServer
    except ImportError as error:
        raise UsageError(
            f"admin needs h11 and prometheus-client, which do not import ({error}); "
            "pip install 'c10k[admin]' or leave out --admin"
        ) from None
    assert settings.admin is not None
    sock = listeners.bind("admin", settings.admin, settings)
    return AdminServer(Listener("admin", sock), source, settings.mode)
