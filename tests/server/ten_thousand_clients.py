"""The client side of the 10,000-connection test, a process of its own on the runtime itself.

`python -m tests.server.ten_thousand_clients PORT COUNT` opens COUNT connections and keeps all of
them, has every one echo bytes of its own and compares them, and prints what it counted as JSON.
Then it waits for a line on standard input, so that the test can count on the server's side too.
"""

import json
import resource
import sys

import runtime

ROUNDS = 3
# Connects under way at a time: well below the server's backlog.
CONNECTING = 500


async def main(port: int, count: int) -> None:
    permits = runtime.Semaphore(CONNECTING)

    async def open_one() -> runtime.Stream:
        async with permits:
            return await runtime.connect("127.0.0.1", port)

    streams = await runtime.join_all(open_one() for _ in range(count))
    verified = sum(await runtime.join_all(echo(*each) for each in enumerate(streams)))
    sys.stdout.write(json.dumps({"held": len(streams), "verified": verified}) + "\n")
    sys.stdout.flush()
    await runtime.run_in_thread(sys.stdin.readline)
    for stream in streams:
        stream.close()


async def echo(number: int, stream: runtime.Stream) -> bool:
    """Whether this connection got back just what it sent, each time."""
    for turn in range(ROUNDS):
        sent = f"{number:08d}/{turn:08d}".encode() * 4
        await stream.send_all(sent)
        received = b""
        while len(received) < len(sent) and (data := await stream.recv(4096)):
            received += data
        if received != sent:
            return False
    return True


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    runtime.run(main(int(sys.argv[1]), int(sys.argv[2])))
