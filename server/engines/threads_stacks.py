"""What each thread is doing, as text, for one thread or ten thousand.

Most of ten thousand threads stand in the same line, the one that waits for a client. So threads
with equal stacks are one entry: how many, the clients of the first few, and the stack once. That
bounds the text by the number of different places, and it is what a reader wants to see: the few
that stand elsewhere.
"""

import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from socket import socket
from types import CodeType, FrameType

NAMED = 3
"""Threads named in an entry; of the others it gives the number."""

DEPTH = 50
"""Innermost calls of a stack that are shown."""

Stack = tuple[tuple[CodeType, int | None], ...]
"""Each call's code and line, the innermost first: what makes two threads stand at one place."""


def describe(connections: Mapping[int, socket]) -> str:
    """Every thread of the process, where it stands, and which connection it serves."""
    frames = sys._current_frames()
    groups: dict[Stack, list[int]] = {}
    for thread, frame in frames.items():
        groups.setdefault(_stack(frame), []).append(thread)
    text = [f"{_threads(len(frames))}\n"]
    for stack, threads in sorted(groups.items(), key=lambda group: -len(group[1])):
        names = [_name(thread, connections) for thread in threads[:NAMED]]
        text.append(f"\n{_threads(len(threads))}: {_listed(names, len(threads))}\n")
        text += traceback.format_list(
            traceback.FrameSummary(code.co_filename, line, code.co_name)
            for code, line in reversed(stack)
        )
    return "".join(text)


def _stack(innermost: FrameType) -> Stack:
    """As it is now: the thread goes on while the others are looked at."""
    places: list[tuple[CodeType, int | None]] = []
    frame: FrameType | None = innermost
    while frame is not None and len(places) < DEPTH:
        places.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(places)


def _threads(count: int) -> str:
    return f"{count:,} thread{'s' if count != 1 else ''}"


def _listed(names: Sequence[str], count: int) -> str:
    others = count - len(names)
    return ", ".join(names) + (f" and {others:,} more" if others else "")


def _name(thread: int, connections: Mapping[int, socket]) -> str:
    sock = connections.get(thread)
    if sock is None:
        names = {each.ident: each.name for each in threading.enumerate()}
        return names.get(thread, f"thread {thread}")
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return "a connection that has ended"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
