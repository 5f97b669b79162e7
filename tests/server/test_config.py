"""Settings: where they come from, and what a bad one gets: one line and exit status 2."""

import json
import os
import re
import resource
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from server import config, parsers
from server.config import Settings
from server.errors import UsageError
from server.listeners import open_listeners
from server.parsers import Address
from tests.server.harness import MODES, TIMEOUT, ServerProcess, clean_environment

ENOUGH_FDS = 20_000


def load(*argv: str, **environ: str) -> Settings:
    return config.load(argv, environ, ENOUGH_FDS)[0]


def server(
    *argv: str, prefix: tuple[str, ...] = ("-m", "server"), **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, *prefix, *argv],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=clean_environment() | environ,
    )


def complaint(*argv: str, prefix: tuple[str, ...] = ("-m", "server"), **environ: str) -> str:
    """The one line that a bad start gets."""
    done = server(*argv, prefix=prefix, **environ)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("c10k-server: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.endswith("\n")
    return done.stderr


class TestPrecedence:
    def test_defaults(self) -> None:
        assert load() == Settings(
            mode="runtime",
            echo=Address("127.0.0.1", 7007),
            sleep=Address("127.0.0.1", 7008),
            echo_tls=None,
            sleep_tls=None,
            tls_cert=None,
            tls_key=None,
            admin=None,
            workers=1,
            backlog=4096,
            max_connections=ENOUGH_FDS - 64,
            max_per_address=0,
            max_line=65536,
            max_sleep=3600.0,
            idle_timeout=300.0,
            line_timeout=10.0,
            write_timeout=30.0,
            half_close_timeout=30.0,
            handshake_timeout=10.0,
            drain_timeout=8.0,
            log_format="text",
        )

    def test_flag_before_environment_before_file_before_default(self, tmp_path: Path) -> None:
        file = tmp_path / "c10k.toml"
        file.write_text('backlog = 1\nmax-line = 1\nmax-sleep = 1.5\nmode = "threads"\n')
        settings = load(
            *("--config", str(file), "--backlog", "3"), C10K_BACKLOG="2", C10K_MAX_LINE="2"
        )
        assert settings.backlog == 3
        assert settings.max_line == 2
        assert settings.max_sleep == 1.5
        assert settings.mode == "threads"
        assert settings.drain_timeout == 8.0

    def test_the_file_may_be_named_by_the_environment(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("backlog = 1\n")
        (tmp_path / "b").write_text("backlog = 2\n")
        assert load(C10K_CONFIG=str(tmp_path / "a")).backlog == 1
        assert load("--config", str(tmp_path / "b"), C10K_CONFIG=str(tmp_path / "a")).backlog == 2

    def test_only_the_listeners_that_are_given_are_opened(self) -> None:
        assert list(load("--sleep", "[::1]:0").listeners()) == [("sleep", Address("::1", 0))]
        assert list(load(C10K_ECHO="localhost:1").listeners()) == [
            ("echo", Address("localhost", 1))
        ]

    def test_check_config_prints_a_file_that_gives_the_same_settings(self, tmp_path: Path) -> None:
        done = server("--check-config", "--echo", "[::1]:7007", "--max-sleep", "1.5")
        assert done.returncode == 0
        assert done.stderr == ""
        assert tomllib.loads(done.stdout)["echo"] == "[::1]:7007"
        file = tmp_path / "c10k.toml"
        file.write_text(done.stdout)
        assert server("--check-config", "--config", str(file)).stdout == done.stdout

    def test_every_option_is_a_flag_a_variable_and_a_key(self, tmp_path: Path) -> None:
        file = tmp_path / "c10k.toml"
        addresses = ("echo", "sleep", "echo-tls", "sleep-tls", "admin")
        given = [f"--{name}=127.0.0.1:{7007 + port}" for port, name in enumerate(addresses)]
        given += ["--backlog=7", "--tls-cert=a", "--tls-key=b"]
        values = tomllib.loads(load(*given).as_toml())
        assert set(values) == {option.name for option in config.OPTIONS}
        flags = [part for name, value in values.items() for part in (f"--{name}", str(value))]
        variables = {option.variable: str(values[option.name]) for option in config.OPTIONS}
        file.write_text(load(*given).as_toml())
        assert load(*flags) == load(**variables) == load("--config", str(file))

    def test_a_time_is_a_decimal_number_however_short(self, tmp_path: Path) -> None:
        file = tmp_path / "c10k.toml"
        file.write_text(load("--idle-timeout", "0.00001").as_toml())
        assert load("--config", str(file)).idle_timeout == 0.00001
        file.write_text("idle-timeout = 1e-5")
        assert load("--config", str(file)).idle_timeout == 0.00001

    def test_help_names_every_option(self) -> None:
        done = server("--help")
        assert done.returncode == 0
        for option in config.OPTIONS:
            assert f"--{option.name} {option.metavar}" in done.stdout


class TestParsers:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "7007",
            ":7007",
            "host:",
            "::1:7007",
            "[::1]",
            "host:65536",
            "host:-1",
            "a b:1",
            "a:1x",
        ],
    )
    def test_addresses_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="HOST:PORT"):
            parsers.address(text)

    @pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:65535", "[fe80::1%eth0]:1", "a-b.c:80"])
    def test_addresses_print_as_they_are_written(self, text: str) -> None:
        assert str(parsers.address(text)) == text

    @pytest.mark.parametrize("text", ["", "0", "10", "1_0", " 1", "+1", "1.0", "\u0661", "9" * 99])
    def test_whole_numbers_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="a whole number from 1 to 9"):
            parsers.whole_number(1, 9)(text)

    @pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e1", "9.5", "1.", ".1", "1_0"])
    def test_seconds_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="a number of seconds from 0 to 9"):
            parsers.seconds(9)(text)


class TestBadStart:
    def test_unknown_flag(self) -> None:
        assert "--max-conections" in complaint("--max-conections", "5")
        assert "did you mean --max-connections?" in complaint("--max-conections=5")

    def test_stray_argument(self) -> None:
        assert "'serve'" in complaint("serve")

    def test_flag_without_a_value(self) -> None:
        assert "--echo: expected one argument" in complaint("--echo")

    @pytest.mark.parametrize("option", config.OPTIONS, ids=lambda option: option.name)
    def test_bad_value_of_a_flag(self, option: config.Option) -> None:
        assert f"--{option.name}: 'bad\\n\\u20ac' is not " in complaint(
            f"--{option.name}", "bad\n\u20ac"
        )

    def test_bad_value_in_the_environment(self) -> None:
        assert "C10K_MAX_LINE: '0' is not a whole number from 1" in complaint(C10K_MAX_LINE="0")

    def test_unknown_variable(self) -> None:
        line = complaint(C10K_MAX_LINES="1")
        assert "'C10K_MAX_LINES'" in line
        assert "did you mean C10K_MAX_LINE?" in line

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("max-conections = 5", "did you mean max-connections?"),
            ("color = 1", "known: mode, echo"),
            ("max-line = true", "max-line in .*: 'True' is not a whole number"),
            ("max-line = 1.0", "'1.0' is not a whole number"),
            ("[echo]\nport = 1", "echo in .* is not HOST:PORT"),
            ("max-line 5", "is not TOML"),
            ("\udcff", "is not TOML"),
            pytest.param("backlog = " + "9" * 5000, "is not TOML", id="more digits than int takes"),
            pytest.param("backlog = 0x" + "f" * 5000, "is not TOML", id="more than str gives"),
            pytest.param("backlog = " + "[" * 5000, "is not TOML", id="deeper than the stack"),
        ],
    )
    def test_bad_file(self, tmp_path: Path, text: str, expected: str) -> None:
        file = tmp_path / "c10k.toml"
        file.write_text(text, errors="surrogateescape")
        assert re.search(expected, complaint("--config", str(file)))

    def test_unreadable_file(self, tmp_path: Path) -> None:
        assert "No such file" in complaint("--config", str(tmp_path / "none"))
        assert "Is a directory" in complaint("--config", str(tmp_path))

    def test_port_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            line = complaint("--mode", "threads", "--echo", address)
        assert f"cannot listen on echo {address}: the port is in use" in line

    def test_one_address_for_both_services(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        line = complaint("--mode", "threads", "--echo", address, "--sleep", address)
        assert "cannot listen on sleep" in line

    @pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64, "x..y"])
    def test_address_that_does_not_resolve(self, host: str) -> None:
        line = complaint("--mode", "threads", "--echo", f"{host}:0")
        assert f"cannot resolve echo {host}:0" in line

    def test_address_that_is_not_local(self) -> None:
        line = complaint("--mode", "threads", "--echo", "192.0.2.1:0")
        assert "the address is not local" in line

    def test_more_connections_than_files(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        line = complaint("--max-connections", str(hard))
        assert f"needs {hard + 64} open files but the limit is {hard}" in line
        assert f"ask for at most {hard - 64}" in line

    def test_no_room_for_any_connection(self) -> None:
        with pytest.raises(UsageError, match="raise the hard limit"):
            config.load([], {}, 64)

    @pytest.mark.parametrize("mode", ["uvloop", "uvloop-protocol"])
    def test_uvloop_not_installed(self, mode: str) -> None:
        # None in sys.modules makes the import fail as it does where uvloop is not installed.
        program = (
            "import sys; sys.modules['uvloop'] = None; "
            "from server.__main__ import main; sys.exit(main())"
        )
        line = complaint("--mode", mode, prefix=("-c", program))
        assert "pip install 'c10k[uvloop]'" in line


class TestStart:
    def test_every_mode_has_an_engine(self) -> None:
        from server import engines

        assert tuple(engines.ENGINES) == config.MODES == MODES

    def test_raises_the_soft_limit_on_files(self, tmp_path: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        try:
            process = ServerProcess(tmp_path, "threads")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
        process.stop()

    def test_accepted_connections_inherit_nodelay(self) -> None:
        with open_listeners(load("--echo", "127.0.0.1:0")) as (listener,):
            address = (listener.address.host, listener.address.port)
            with socket.create_connection(address, TIMEOUT):
                accepted, _ = listener.sock.accept()
                with accepted:
                    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def test_json_logs_are_one_object_a_line(self, tmp_path: Path) -> None:
        process = ServerProcess(tmp_path, "threads", "--log-format", "json")
        assert process.echoes()
        process.stop()
        events = [json.loads(line) for line in process.log().splitlines()]
        assert [event["message"] for event in events] == ["draining", "stopped"]
        assert events[-1]["connections"] == 2  # the first is the harness's own

    def test_prints_one_line_for_each_listener(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "--mode", "threads", "--echo", "localhost:0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            text=True,
        )
        with process:
            assert process.stdout is not None
            line = process.stdout.readline()
            process.terminate()
            rest, _ = process.communicate(timeout=TIMEOUT)
        assert re.fullmatch(r"listening echo 127\.0\.0\.1:[1-9][0-9]*\n", line)
        assert rest == ""
        assert process.returncode == 0

    def test_works_as_a_console_script(self) -> None:
        script = os.path.join(os.path.dirname(sys.executable), "c10k-server")
        done = subprocess.run([script, "--bad"], capture_output=True, timeout=TIMEOUT)
        assert done.returncode == 2
