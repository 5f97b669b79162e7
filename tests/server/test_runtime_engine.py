"""What is particular to the engine on this project's runtime."""

import pytest

import runtime
from server import config
from server.engines.runtime import echo
from server.engines.runtime_accept import Server
from server.instance import Instance


@pytest.mark.runtime
async def test_a_signal_that_comes_before_the_first_accept_is_no_fault() -> None:
    # The listeners are closed as it comes, and a task that has not begun runs to its first wait.
    settings, _ = config.load([], {}, 1000)
    server = Server(Instance(settings, [], None, on_serving=lambda: None))
    listener = runtime.listen("127.0.0.1", 0)
    listener.close()
    with runtime.timeout(5):
        await server.accept(listener, echo, burst=1)
    assert not server.live
