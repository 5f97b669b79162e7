"""The engines: five ways to serve the same two services, in a module each.

An engine is a function ``run(instance)``. It takes over SIGTERM and SIGINT, calls
``instance.serving()``, serves, and returns after the drain that follows a signal. An engine's
module is imported only when its mode is chosen: no engine pays memory for another's imports.
"""

import importlib
from typing import Protocol, cast

from server.errors import UsageError
from server.instance import Instance

ENGINES = {
    "runtime": "server.engines.runtime:run",
    "threads": "server.engines.threads:run",
    "uvloop": "server.engines.asyncio_streams:run_uvloop",
    "uvloop-protocol": "server.engines.asyncio_protocol:run",
    "asyncio": "server.engines.asyncio_streams:run",
}


class Engine(Protocol):
    """Serve on the instance's listeners until a signal, and drain."""

    def __call__(self, instance: Instance) -> None: ...


def load(mode: str) -> Engine:
    """The engine of a mode; a UsageError if what it needs is not installed."""
    module, _, function = ENGINES[mode].partition(":")
    if mode.startswith("uvloop"):
        try:
            importlib.import_module("uvloop")
        except ImportError as error:
            raise UsageError(
                f"mode {mode} needs uvloop, which does not import ({error}); "
                "pip install 'c10k[uvloop]' or choose another --mode"
            ) from None
    return cast(Engine, getattr(importlib.import_module(module), function))
