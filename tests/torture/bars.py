"""The bars: what a server that can be left running must reach, figure by figure.

Every figure that a torture test records stands here, with the most that it may be. Most bars hold
for every engine, because what they catch is wrong use of a socket or of a loop, which is ours.
Where ``only_runtime`` says why, the cause can lie in a rival's library or in its very design: then
the rivals' figures are reported beside the bar and fail nothing.
"""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure and the most that it may be."""

    item: int
    """Which torture: the tests of one have the mark ``item`` with this number."""
    figure: str
    most: float
    """Infinity: the figure is only reported."""
    unit: str = ""
    noisy: bool = False
    """Depends on how busy the machine is, or on a size: judged at full size alone."""
    only_runtime: str = ""
    """Why the other engines' figures are reported and not judged; empty: they are judged."""


ALLOCATOR = "what a library and the allocator keep is theirs"
SHARE = "how those who are ready take turns is the library's, or the interpreter's"
READS_MUCH = "asyncio and uvloop read up to 256 KiB at a time, and hold what they cannot send"
LIBUV_SHEDS = "out of descriptors, libuv accepts with a spare one and closes at once"

BARS = {
    (bar.item, bar.figure): bar
    for bar in (
        Bar(1, "foreign, doubled or reordered bytes, plain", 0),
        Bar(1, "foreign, doubled or reordered bytes, over TLS", 0),
        Bar(1, "streams cut short, plain", 0),
        Bar(1, "streams cut short, over TLS", 0),
        Bar(1, "connections a second, plain", inf),
        Bar(1, "connections a second, over TLS", inf),
        Bar(2, "descriptors left 5 s after a storm of resets", 0),
        Bar(2, "memory with all open, the last time by the second", 1.05, "x", True, ALLOCATOR),
        Bar(2, "memory after a storm, the last by the second", 1.05, "x", True, ALLOCATOR),
        Bar(3, "memory for each client that never reads", 128, "KiB", True, READS_MUCH),
        Bar(3, "others that lost an answer", 0),
        Bar(3, "p99 of the others in calm", inf, "ms"),
        Bar(3, "p99 of the others while all fill their buffers at once", inf, "ms"),
        Bar(3, "p99 of the others from then on, by that in calm", 2, "x", True, SHARE),
        Bar(4, "CPU while out of descriptors", 10, "%", noisy=True),
        Bar(4, "log lines while out of descriptors", 1, "a second", noisy=True),
        Bar(4, "recovery", 2, "s", noisy=True),
        Bar(4, "connections reset instead of kept waiting", 0, only_runtime=LIBUV_SHEDS),
        Bar(5, "time until new connections are refused", 100, "ms", True, SHARE),
        Bar(5, "drain", 8, "s", noisy=True),
        Bar(5, "answers missing, cut short or followed by a reset", 0),
        Bar(6, "16 MiB and FIN: not all back", 0),
        Bar(6, "16 MiB and FIN through socat: not all back", 0),
        Bar(6, "16 MiB and FIN through HAProxy: not all back", 0),
        Bar(7, "attackers that were not cut off", 0),
        Bar(7, "attackers not counted as line_timeout", 0),
        Bar(7, "cut off before the deadline", 0),
        Bar(7, "time until the last was cut off, by the deadline", 1.5, "x", noisy=True),
        Bar(7, "normal clients that lost an answer", 0),
        Bar(7, "p99 of normal clients in calm", inf, "ms"),
        Bar(7, "p99 of normal clients, by that in calm", 2, "x", True, SHARE),
        Bar(8, "descriptors left", 0),
        Bar(8, "cut off before the deadline", 0),
        Bar(8, "cut off after the deadline by", 1, "s", noisy=True),
        Bar(8, "plain echoes that were not answered", 0),
        Bar(8, "p99 of plain echoes, by that in calm", 3, "x", True, SHARE),
        Bar(9, "answers wrong", 0),
        Bar(9, "connections lost or cut short", 0),
        Bar(9, "growth of memory after warm-up", 1, "MiB/h", True, ALLOCATOR),
        Bar(9, "growth of descriptors after warm-up", 5, noisy=True),
        Bar(9, "answers", inf),
        Bar(9, "connections that came and went beside", inf),
        Bar(10, "bytes of echo floods that came back wrong", 0),
        Bar(10, "bytes of sleep floods that came back wrong", 0),
        Bar(10, "quiet clients that lost an answer beside echo floods", 0),
        Bar(10, "quiet clients that lost an answer beside sleep floods", 0),
        Bar(10, "p99 of the quiet in calm", inf, "ms"),
        Bar(10, "p99 of the quiet beside echo floods, by that in calm", 3, "x", True, SHARE),
        Bar(10, "p99 of the quiet beside sleep floods, by that in calm", 3, "x", True, SHARE),
        Bar(10, "p99 of the quiet beside echo floods", 50, "ms", True, SHARE),
        Bar(10, "p99 of the quiet beside sleep floods", 50, "ms", True, SHARE),
        Bar(11, "errors that harmed another connection or the server", 0),
        Bar(13, "connections open beyond the maximum", 0),
        Bar(13, "connections that waited and were not served", 0),
        Bar(13, "connections that are not counted once", 0),
        Bar(14, "faults that sslscan finds", 0),
        Bar(17, "inputs of a million that are answered wrongly", 0),
        Bar(17, "memory at its peak over a stream of hostile lines", 64, "KiB"),
        Bar(20, "memory after 99 % of the timers were taken back", 5, "%"),
        Bar(20, "memory after all were", 0.1, "%", noisy=True),
        Bar(20, "timers lost or doubled", 0),
        Bar(20, "timers that fired early", 0),
        Bar(20, "lateness of the others, p99", 20, "ms", noisy=True),
        Bar(21, "sleeps that ended early", 0),
        Bar(21, "sleeps that ended late by, at most", 100, "ms", noisy=True),
        Bar(22, "replies that are no refusal", 0),
        Bar(22, "connections that are counted wrongly", 0),
        Bar(24, "bytes received that differ", 0),
        Bar(24, "bytes sent that differ", 0),
        Bar(24, "connections that differ", 0),
        Bar(24, "ends that are counted under another reason", 0),
        Bar(25, "log lines that are no JSON object", 0),
        Bar(25, "log lines that a peer has forged", 0),
    )
}

TITLES = {
    1: "No byte crosses connections",
    2: "Storm of resets",
    3: "Slow readers",
    4: "Out of descriptors",
    5: "SIGTERM under load",
    6: "Half-close",
    7: "Slowloris",
    8: "TLS clients that stall",
    9: "Soak",
    10: "Hot connections",
    11: "Faults of system calls",
    13: "The limit of connections",
    14: "TLS as scanners see it",
    17: "Hostile lines",
    20: "A million timers",
    21: "A clock that jumps",
    22: "The wrong protocol",
    24: "The books balance",
    25: "Hostile bytes in logs",
}
