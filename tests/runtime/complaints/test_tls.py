"""Complaints about the memory of TLS connections."""

import gc
import ssl
import tracemalloc

from runtime import TlsStream, join_all

from ..harness import Runner, raw_pair, receive
from ..tls_harness import server_context, tls_pair


def test_cpython_109534_an_idle_tls_connection_holds_no_large_buffers(run: Runner) -> None:
    """Many TLS connections take far more memory than plain ones; each has buffers of 256 KiB.

    Ours has none of its own while it is idle, however much went through it before. (OpenSSL's own
    memory, the same for everybody, is not counted here.) In depth: `test_tls.py`.
    """
    connections, much = 8, 1 << 20

    async def main() -> float:
        for stream in await tls_pair():  # what is made once, and kept
            stream.close()
        tracemalloc.start()
        try:
            pairs = [await tls_pair() for _ in range(connections)]
            for client, server in pairs:
                await join_all(client.send_all(bytes(much)), receive(server, much))
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        for pair in pairs:
            for stream in pair:
                stream.close()
        return held / (2 * connections)

    assert run(main) < 64 * 1024


def test_uvloop_565_a_handshake_that_failed_leaves_nothing_to_the_collector(run: Runner) -> None:
    """Under a load of short TLS connections the memory grows and is not given back.

    What grew was connections whose handshake had failed, each a cycle with its buffers. Ours leaves
    no cycle, so it goes at once. In depth: `test_tls_handshake.py`.
    """
    context = server_context()

    async def fails() -> None:
        one, other = raw_pair()
        with other:
            other.sendall(b"GET / HTTP/1.0\r\n\r\n")
            async with TlsStream(one, context, server_side=True) as stream:
                try:
                    await stream.recv(1)
                except OSError:
                    return
        raise AssertionError("that was no handshake")

    def living() -> int:
        return sum(isinstance(thing, ssl.SSLObject) for thing in gc.get_objects())

    async def main() -> int:
        await fails()
        gc.collect()
        before = living()
        gc.disable()
        try:
            for _ in range(5):
                await fails()
            return living() - before
        finally:
            gc.enable()

    assert run(main) == 0
