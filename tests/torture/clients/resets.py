"""Opens connections, and resets them all in the middle of an echo."""

from tests.torture.client import connect_all, main, reset_when_closed, say, told

PAYLOAD = bytes(4096)


async def storm(port: int, count: int, rounds: int) -> None:
    for _ in range(rounds):
        streams = await connect_all(port, count)
        for stream in streams:
            await stream.send_all(PAYLOAD)
        say(opened=len(streams))
        await told()
        for stream in streams:
            await stream.send_all(PAYLOAD)
            reset_when_closed(stream)
            stream.close()
        say(reset=len(streams))
        await told()


if __name__ == "__main__":
    main(storm)
