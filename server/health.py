"""``python -m server.health``: is the server well? One echo, and the exit status says.

What a container asks every few seconds, so it imports little, and TLS only when asked to: most of
its time is the interpreter's own start. It asks what a client would: not whether there is a server,
nor whether it says that it is well, but whether bytes come back.
"""

import argparse
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn, TypeVar

from server import parsers, stderr
from server.parsers import Address

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")

DEFAULT = "127.0.0.1:7007"

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a server that listens on every address is asked."""

HEALTHY, UNHEALTHY, BAD_USAGE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Ask the server; returns the exit status."""
    options = _parse(argv)
    address, context = options.echo, options.context
    try:
        _ask(address, context, time.monotonic() + options.timeout)
    except (OSError, ValueError) as error:  # ValueError: a host name that cannot be one
        stderr.say(f"unhealthy: echo at {address}: {_explain(error, options.timeout)}")
        return UNHEALTHY
    return HEALTHY


def _ask(address: Address, context: "ssl.SSLContext | None", deadline: float) -> None:
    """Send some bytes and see them come back; an OSError if they do not."""
    with _connect(address, deadline) as sock:
        sock.settimeout(_left(deadline))
        if context is None:
            _echo(sock, deadline)
        else:
            with context.wrap_socket(sock, server_hostname=address.host) as secure:
                _echo(secure, deadline)


def _connect(address: Address, deadline: float) -> socket.socket:
    """A connection to the first of the name's addresses that takes one.

    ``socket.create_connection`` would give each of them all the time.
    """
    # As bytes: for a text the codec of international names is imported, three milliseconds.
    host = address.host.encode()
    fault: OSError | None = None
    for family, kind, protocol, _, where in socket.getaddrinfo(
        host, address.port, type=socket.SOCK_STREAM
    ):
        left = _left(deadline)
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(left)
            sock.connect(where)
            return sock
        except OSError as error:
            sock.close()
            fault = fault or error
    raise fault or OSError("the name has no address")


def _echo(sock: socket.socket, deadline: float) -> None:
    said = os.urandom(16).hex().encode()
    sock.settimeout(_left(deadline))
    sock.sendall(said)
    heard = b""
    while len(heard) < len(said):
        sock.settimeout(_left(deadline))
        data = sock.recv(len(said) - len(heard))
        if not data:
            raise OSError(f"the connection ended after {len(heard)} of {len(said)} bytes")
        heard += data
    if heard != said:
        raise OSError("other bytes came back than were sent")


def _left(deadline: float) -> float:
    """Seconds until then: all waits together have one deadline."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _explain(error: Exception, timeout: float) -> str:
    match error:
        case TimeoutError():
            return f"no answer within {timeout:.15g} s"
        case ConnectionRefusedError():
            return "nobody listens there"
        case _:
            return " ".join(str(error).split())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        stderr.say(f"server.health: {message}; --help lists the options")
        sys.exit(BAD_USAGE)

    def value(self, place: str, text: str, parse: Callable[[str], T]) -> T:
        """What a text says, or the end with a line that tells what it should have been."""
        try:
            return parse(text)
        except ValueError as error:
            self.error(f"{place}: {text!a} is not {error}")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m server.health",
        description="Ask a server for one echo. Exit status 0: it came; 1: it did not.",
        allow_abbrev=False,
        # With a width it need not ask the terminal, nor import what asks it.
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=80),
    )
    parser.add_argument(
        "--echo",
        metavar="HOST:PORT",
        help=f"default: C10K_ECHO, else {DEFAULT}; with --tls: C10K_ECHO_TLS",
    )
    parser.add_argument("--tls", action="store_true", help="ask over TLS")
    parser.add_argument(
        "--ca",
        metavar="FILE",
        help="PEM file of those whose certificates are accepted, for HOST alone (default: any)",
    )
    parser.add_argument(
        "--timeout", metavar="S", default="5", help="for all of it (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    options.echo = _address(parser, options.echo, options.tls)
    options.timeout = parser.value("--timeout", options.timeout, parsers.seconds(3600, 0.001))
    if options.ca is not None and not options.tls:
        parser.error("--ca is about TLS; add --tls")
    options.context = _context(parser, options.ca) if options.tls else None
    return options


def _address(parser: _Parser, given: str | None, tls: bool) -> Address:
    place, text, variable = "--echo", given, "C10K_ECHO_TLS" if tls else "C10K_ECHO"
    if text is None:
        place, text = variable, os.environ.get(variable)
    if text is None:
        if tls:
            parser.error(f"no default port has TLS; name one by --echo or {variable}")
        text = DEFAULT
    host, port = parser.value(place, text, parsers.address)
    if not port:
        parser.error(f"{place}: port 0 is the kernel's choice; name the port that it chose")
    return Address(LOOPBACK.get(host, host), port)


def _context(parser: _Parser, ca: str | None) -> "ssl.SSLContext":
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        # Whose certificate it is, is no question of health.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        context.load_verify_locations(ca)
    except OSError as error:  # SSLError is one
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        parser.error(f"--ca: {ca!a} cannot be used: {reason}")
    return context


if __name__ == "__main__":
    sys.exit(main())
