"""What can be set about the load, beside Locust's own flags.

The values reach us as Locust's `parsed_options`: from the command line, from the web UI (as
strings cast to the type of the default) or from the master. So every option is a plain number or
string, checked by the same functions wherever it comes from.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from loadtest.client.addresses import Target, parse_sources, parse_target
from loadtest.client.server_metrics import parse_page
from loadtest.command import positive

T = TypeVar("T")

DEFAULT_HOST = "tcp://127.0.0.1:7007"
DEFAULT_SLEEP_PORT = 7008
MAX_PAYLOAD = 16 * 1024 * 1024


@dataclass(frozen=True)
class LoadOptions:
    """The settings of one user; times are seconds, sizes bytes."""

    echo: Target
    sleep_service: Target
    payload: int
    pacing: float
    sleep: float
    sources: tuple[str, ...]
    connect_timeout: float
    reply_timeout: float
    connects_at_once: int

    @classmethod
    def read(cls, host: str | None, parsed: Any) -> "LoadOptions":
        """From Locust's host and parsed options; ValueError names what is wrong."""
        echo = parse_target(host or DEFAULT_HOST)
        sleep_host = parsed.sleep_host
        return cls(
            echo=echo,
            sleep_service=parse_target(sleep_host)
            if sleep_host
            else Target(echo.host, DEFAULT_SLEEP_PORT),
            payload=payload_bytes(parsed.payload),
            pacing=seconds(parsed.pacing),
            sleep=seconds(parsed.sleep),
            sources=parse_sources(parsed.source_addresses),
            connect_timeout=positive_seconds(parsed.connect_timeout),
            reply_timeout=positive_seconds(parsed.reply_timeout),
            connects_at_once=positive(str(parsed.connects_at_once)),
        )


def seconds(value: str | float) -> float:
    """A finite number of seconds, zero or more."""
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{value} is no number of seconds")
    return number


def positive_seconds(value: str | float) -> float:
    """A finite number of seconds over zero."""
    number = seconds(value)
    if number == 0:
        raise ValueError("must be more than 0 seconds")
    return number


def payload_bytes(value: str | int) -> int:
    """A payload size from 1 byte to 16 MiB."""
    text = str(value)
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PAYLOAD:
        raise ValueError(f"{text!r} is not a number of bytes from 1 to {MAX_PAYLOAD}")
    return int(text)


def source_addresses(value: str) -> str:
    """A list of source addresses, checked but left as text."""
    parse_sources(value)
    return value


def target(value: str) -> str:
    """A target, checked but left as text."""
    parse_target(value)
    return value


def metrics_page(value: str) -> str:
    """The address of a page of metrics, checked but left as text; "" is none."""
    if value:
        parse_page(value)
    return value


def argument(check: Callable[[str], T]) -> Callable[[str], T]:
    """Let argparse report what `check` says, not just "invalid value"."""

    def convert(text: str) -> T:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def add_options(parser: Any) -> None:
    """Register our options with Locust's parser; those added to it directly (and not to a group)
    appear in the web UI as well."""
    parser.add_argument(
        "--payload",
        type=argument(payload_bytes),
        default=64,
        metavar="BYTES",
        help="Size of each echoed message (default 64); every byte that comes back is compared",
    )
    parser.add_argument(
        "--pacing",
        type=argument(seconds),
        default=10.0,
        metavar="SECONDS",
        help="Each user sends once per this period, on a schedule of its own that lateness does "
        "not move (default 10); 0 sends as soon as the last answer is in",
    )
    parser.add_argument(
        "--sleep",
        type=argument(seconds),
        default=1.0,
        metavar="SECONDS",
        help="What SleepUser asks the sleep service for (default 1)",
    )
    parser.add_argument(
        "--sleep-host",
        type=argument(lambda text: target(text) if text else ""),
        default="",
        metavar="tcp://HOST:PORT",
        help="The sleep service; given, SleepUser runs beside EchoUser. Default: port "
        f"{DEFAULT_SLEEP_PORT} of --host, and SleepUser runs only when named",
    )
    parser.add_argument(
        "--source-addresses",
        type=argument(source_addresses),
        default="",
        metavar="LIST",
        help="Connect from these, in turn, for more ports: 127.0.0.2,127.0.0.3 or "
        "127.0.0.2-127.0.0.5",
    )
    parser.add_argument(
        "--connect-timeout",
        type=argument(positive_seconds),
        default=10.0,
        metavar="SECONDS",
        help="Give up an attempt to connect after this (default 10)",
    )
    parser.add_argument(
        "--connects-at-once",
        type=argument(positive),
        default=10_000,
        metavar="N",
        help="Users of one process who connect at the same time; the others wait for their turn, "
        "and are not yet counted as late (default 10000)",
    )
    parser.add_argument(
        "--reply-timeout",
        type=argument(positive_seconds),
        default=30.0,
        metavar="SECONDS",
        help="An answer that takes longer is a failure (default 30; SleepUser adds its sleep)",
    )
    parser.add_argument(
        "--server-metrics",
        type=argument(metrics_page),
        default="",
        metavar="http://HOST:PORT/metrics",
        help="Where a server elsewhere (its --admin) tells its memory, CPU and threads, for the "
        "web UI's Connections tab. Default: the process that listens on --host, on this machine",
    )
    parser.add_argument(
        "--hold",
        type=argument(seconds),
        include_in_web_ui=False,
        default=0.0,
        metavar="SECONDS",
        help="Measure for this long once every user holds a connection, then stop (default 0: "
        "run until stopped)",
    )
    parser.add_argument(
        "--linger",
        type=argument(seconds),
        include_in_web_ui=False,
        default=0.0,
        metavar="SECONDS",
        help="After the hold, keep the connections this much longer, for others to count them",
    )
    parser.add_argument(
        "--worker-patience",
        type=argument(positive_seconds),
        include_in_web_ui=False,
        default=3.0,
        metavar="SECONDS",
        help="With --processes or --master: a worker that says nothing for so long is given up, "
        "and its users go to others (default 3, as in Locust)",
    )
    parser.add_argument(
        "--figures",
        include_in_web_ui=False,
        default="",
        metavar="FILE",
        help="Write progress and the result there, as lines of JSON",
    )
