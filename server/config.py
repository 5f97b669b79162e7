"""The server's settings: one table of options drives flags, environment and TOML file.

A setting comes from the flag if given, else from the environment, else from the TOML file, else
from its default. Wherever it comes from, its text goes through the same parser, so a bad value
gets the same words everywhere; only the name of the place differs. Nothing unknown passes in
silence: a mistyped key that is ignored is a limit that is not in force.
"""

import argparse
import difflib
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import NoReturn

from server import limits, parsers
from server.errors import UsageError
from server.parsers import Address

ENV_PREFIX = "C10K_"

LISTENERS = ("echo", "sleep", "echo-tls", "sleep-tls")

DEFAULT_LISTENERS = (
    ("echo", Address("127.0.0.1", 7007)),
    ("sleep", Address("127.0.0.1", 7008)),
)
"""What is opened if no listener is asked for."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective settings. Times are in seconds, sizes in bytes."""

    mode: str
    echo: Address | None
    sleep: Address | None
    echo_tls: Address | None
    sleep_tls: Address | None
    tls_cert: str | None
    tls_key: str | None
    admin: Address | None
    workers: int
    backlog: int
    max_connections: int
    max_per_address: int
    max_line: int
    max_sleep: float
    idle_timeout: float
    line_timeout: float
    write_timeout: float
    half_close_timeout: float
    handshake_timeout: float
    drain_timeout: float
    log_format: str

    def listeners(self) -> Iterator[tuple[str, Address]]:
        """The names of the listeners to open, and where."""
        for name in LISTENERS:
            address = getattr(self, name.replace("-", "_"))
            if address is not None:
                yield name, address

    def as_toml(self) -> str:
        """A configuration file that gives these settings."""
        present = ((field.name, getattr(self, field.name)) for field in fields(self))
        return "".join(
            f"{name.replace('_', '-')} = {_toml_value(value)}\n"
            for name, value in present
            if value is not None
        )


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its name as in ``--max-line`` and in TOML, its parser, default and help."""

    name: str
    parse: Callable[[str], object]
    default: object
    metavar: str
    help: str

    @property
    def field(self) -> str:
        """Its name in ``Settings``."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return ENV_PREFIX + self.field.upper()


# Beyond any use, and within what every engine's timers can express.
WEEK = 604800

MODES = ("runtime", "threads", "uvloop", "uvloop-protocol", "asyncio")

OPTIONS = (
    Option("mode", parsers.choice(*MODES), "runtime", "MODE", f"engine: {', '.join(MODES)}"),
    Option("echo", parsers.address, None, "HOST:PORT", "where the echo service listens"),
    Option("sleep", parsers.address, None, "HOST:PORT", "where the sleep service listens"),
    Option("echo-tls", parsers.address, None, "HOST:PORT", "echo over TLS; needs --tls-cert"),
    Option("sleep-tls", parsers.address, None, "HOST:PORT", "sleep over TLS; needs --tls-cert"),
    Option("tls-cert", parsers.file_name, None, "FILE", "PEM file: the certificate and its chain"),
    Option(
        "tls-key", parsers.file_name, None, "FILE", "PEM file: its key, if not in the same file"
    ),
    Option(
        "admin",
        parsers.address,
        None,
        "HOST:PORT",
        "where /livez, /readyz, /metrics and /tasks are served by HTTP; nobody is asked who they "
        "are, so keep it on the loopback",
    ),
    Option(
        "workers",
        parsers.whole_number(1, 1024),
        1,
        "N",
        "processes that serve; they share the listeners, and one that dies is replaced",
    ),
    Option(
        "backlog",
        parsers.whole_number(1, 2**31 - 1),
        4096,
        "N",
        "connections the kernel keeps waiting; it caps this at net.core.somaxconn",
    ),
    Option(
        "max-connections",
        parsers.whole_number(1, 2**31 - 1),
        None,
        "N",
        "connections open at a time, further ones wait in the backlog; each worker has an equal "
        f"part; default: for each, the limit on open files less {limits.RESERVED_FDS}",
    ),
    Option(
        "max-per-address",
        parsers.whole_number(0, 2**31 - 1),
        0,
        "N",
        "of them from one address, in each worker, further ones are closed at once; 0: no limit",
    ),
    Option(
        "max-line",
        parsers.whole_number(1, 2**30),
        65536,
        "BYTES",
        "longest line of the sleep service",
    ),
    Option("max-sleep", parsers.seconds(WEEK), 3600.0, "S", "longest sleep"),
    Option(
        "idle-timeout",
        parsers.seconds(WEEK),
        300.0,
        "S",
        "close a connection on which nothing came or went for so long; 0: never",
    ),
    Option(
        "line-timeout",
        parsers.seconds(WEEK),
        10.0,
        "S",
        "close a sleep connection whose line takes longer, however steadily it comes; 0: never",
    ),
    Option(
        "write-timeout",
        parsers.seconds(WEEK),
        30.0,
        "S",
        "close a connection whose peer reads or acknowledges nothing for so long; 0: never",
    ),
    Option(
        "half-close-timeout",
        parsers.seconds(WEEK),
        30.0,
        "S",
        "the same after the peer has ended its side; 0: never",
    ),
    Option(
        "handshake-timeout",
        parsers.seconds(WEEK, least=0.001),
        10.0,
        "S",
        "time for the handshake of a TLS connection",
    ),
    Option(
        "drain-timeout",
        parsers.seconds(WEEK),
        8.0,
        "S",
        "time to finish what was received after SIGTERM or SIGINT",
    ),
    Option("log-format", parsers.choice("text", "json"), "text", "FORMAT", "text or json"),
)

EXAMPLES = """\
examples:
  c10k-server                                      echo on 127.0.0.1:7007, sleep on 127.0.0.1:7008
  c10k-server --mode uvloop --echo 0.0.0.0:7007    echo alone, on every address, on uvloop
  c10k-server --echo 127.0.0.1:0                   a port of the kernel's choice; read it from the
                                                   line "listening echo 127.0.0.1:PORT" on stdout
  C10K_MAX_CONNECTIONS=5000 c10k-server            every option is an environment variable too
  c10k-server --config c10k.toml --check-config    show the effective settings and exit

try it:
  printf 'hello\\n' | nc -N 127.0.0.1 7007          comes back at once
  printf '0.25\\n'  | nc -N 127.0.0.1 7008          comes back after 250 ms

SIGTERM and SIGINT drain: listeners close, what was received is answered.
A second signal exits at once.
SIGHUP reads the certificate again, SIGUSR1 logs what each task is doing.
"""


def load(
    argv: Sequence[str] | None,
    environ: Mapping[str, str],
    fd_limit: int,
    *,
    sockets_given: bool = False,
) -> tuple[Settings, bool]:
    """The effective settings, and whether ``--check-config`` was given.

    With ``sockets_given`` somebody else has opened the listeners: none may be set, none is default.
    """
    flags = _parse_flags(argv)
    file_name = flags.config if flags.config is not None else environ.get(ENV_PREFIX + "CONFIG")
    from_file = _read_file(file_name) if file_name is not None else {}
    from_env = _read_environment(environ)
    values: dict[str, object] = {}
    for option in OPTIONS:
        given = (
            (f"--{option.name}", getattr(flags, option.field)),
            (option.variable, from_env.get(option.name)),
            (f"{option.name} in {file_name!a}", from_file.get(option.name)),
        )
        values[option.field] = _first(option, given)
    listeners = [name for name in LISTENERS if values[name.replace("-", "_")] is not None]
    if sockets_given and listeners:
        raise UsageError(
            f"{listeners[0]} is set, but the sockets to listen on are given by LISTEN_FDS; "
            "leave out one or the other"
        )
    if not (sockets_given or listeners):
        values.update(DEFAULT_LISTENERS)
    _check_tls(values)
    asked, workers = values["max_connections"], values["workers"]
    assert asked is None or isinstance(asked, int)
    assert isinstance(workers, int)
    values["max_connections"] = limits.max_connections(asked, fd_limit, workers)
    return Settings(**values), flags.check_config  # type: ignore[arg-type]


def _check_tls(values: Mapping[str, object]) -> None:
    if values["tls_cert"] is None:
        for name in ("echo-tls", "sleep-tls", "tls-key"):
            if values[name.replace("-", "_")] is not None:
                raise UsageError(f"{name} needs a certificate; name its PEM file by --tls-cert")


def _first(option: Option, given: Iterable[tuple[str, str | None]]) -> object:
    for place, text in given:
        if text is not None:
            try:
                return option.parse(text)
            except ValueError as error:
                raise UsageError(f"{place}: {text!a} is not {error}") from None
    return option.default


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; --help lists the options")


def _parse_flags(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="c10k-server",
        description="An echo and sleep server for 10,000 and more concurrent connections.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for option in OPTIONS:
        text = option.help
        if option.default is not None:
            text += f" (default: {option.default})"
        parser.add_argument(f"--{option.name}", metavar=option.metavar, help=text)
    parser.add_argument("--config", metavar="FILE", help="TOML file; keys are named as the flags")
    parser.add_argument(
        "--check-config", action="store_true", help="print the effective settings and exit"
    )
    flags, unknown = parser.parse_known_args(argv)
    if unknown:
        known = [f"--{option.name}" for option in OPTIONS] + ["--config", "--check-config"]
        raise _unknown("argument", unknown[0].partition("=")[0], known)
    return flags


def _read_environment(environ: Mapping[str, str]) -> dict[str, str]:
    options = {option.variable: option.name for option in OPTIONS}
    known = [*options, ENV_PREFIX + "CONFIG"]
    for variable in environ:
        if variable.startswith(ENV_PREFIX) and variable not in known:
            raise _unknown("environment variable", variable, known)
    return {name: environ[variable] for variable, name in options.items() if variable in environ}


def _read_file(file_name: str) -> dict[str, str]:
    try:
        with open(file_name, "rb") as file:
            table = tomllib.load(file)
        texts = {key: _text(value) for key, value in table.items()}
    except OSError as error:
        raise UsageError(
            f"cannot read {file_name!a}: {error.strerror}; --config takes a readable TOML file"
        ) from None
    except (ValueError, RecursionError) as error:  # also more digits or brackets than Python takes
        raise UsageError(
            f"{file_name!a} is not TOML: {error}; write lines like max-line = 65536"
        ) from None
    known = [option.name for option in OPTIONS]
    for key in table:
        if key not in known:
            raise _unknown("key", key, known, f" in {file_name!a}")
    return texts


def _unknown(kind: str, name: str, known: Sequence[str], place: str = "") -> UsageError:
    close = difflib.get_close_matches(name, known, n=1)
    remedy = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
    return UsageError(f"unknown {kind} {name!a}{place}; {remedy}")


def _toml_value(value: object) -> str:
    # JSON's strings are TOML's: what a file name may hold is escaped.
    return _text(value) if isinstance(value, int | float) else json.dumps(str(value))


def _text(value: object) -> str:
    """As it is written on the command line, where there are no exponents."""
    return f"{Decimal(str(value)):f}" if isinstance(value, float) else str(value)
