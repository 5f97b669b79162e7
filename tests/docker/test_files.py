"""What can be said of the Dockerfile and the compose file without an engine."""

import itertools
import re
import tomllib
from pathlib import Path

import pytest

from loadtest.closed_loop.compiled import FLAGS
from server.config import MODES, OPTIONS
from tests.docker.engine import ENGINES, REPOSITORY, call, compose_command

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
COMPOSE = (REPOSITORY / "docker-compose.yml").read_text()
# It comes from git, by make.
NOT_SET_BY_HAND = {"STACK_REVISION"}


def without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def defaults() -> dict[str, str]:
    """Of each variable in the compose file; the same wherever it stands."""
    found = re.findall(r"\$\{(\w+):-([^}]*)\}", without_comments(COMPOSE))
    by_name: dict[str, str] = {}
    for name, default in found:
        assert by_name.setdefault(name, default) == default, f"two defaults of {name}"
    return by_name


def test_every_variable_has_a_default_and_a_line_in_the_settings() -> None:
    lines = without_comments((REPOSITORY / ".env").read_text()).split()
    settings = dict(line.split("=", 1) for line in lines)
    assert {
        name: default for name, default in defaults().items() if name not in NOT_SET_BY_HAND
    } == settings
    assert len(re.findall(r"\$\{?\w", without_comments(COMPOSE))) == len(
        re.findall(r"\$\{\w+:-", without_comments(COMPOSE))
    )


def test_settings_are_not_taken_for_the_servers_own() -> None:
    """The server refuses a C10K_ variable that it does not know, exported settings included."""
    assert [name for name in defaults() if name.startswith("C10K_")] == []


@pytest.mark.parametrize("settings", [True, False])
def test_compose_accepts_the_file_with_and_without_settings(tmp_path: Path, settings: bool) -> None:
    command = compose_command()
    if command is None:
        pytest.skip("there is no Compose; on Debian: apt-get install docker-compose")
    env_file = REPOSITORY / ".env" if settings else tmp_path / "none"
    env_file.touch()
    done = call(
        [*command, "--env-file", str(env_file), "config", "--services"],
        env={"COMPOSE_PROFILES": "engines,distributed,compare"},
    )
    assert done.returncode == 0, done.stderr
    assert "obsolete" not in done.stderr
    assert set(done.stdout.split()) == {*ENGINES, "locust", "master", "worker", "compare"}


def test_every_engine_is_a_service_of_its_name() -> None:
    assert ENGINES == MODES
    for mode in MODES:
        assert f'command: ["--mode", "{mode}"]' in COMPOSE


def test_nothing_is_published_beyond_the_loopback() -> None:
    published = re.findall(r"(?m)^    ports:\n((?:      - .*\n)+)", COMPOSE)
    lines = [line.strip() for line in itertools.chain(*(text.splitlines() for text in published))]
    assert len(lines) == 2
    assert all(line.startswith("- 127.0.0.1:") for line in lines)


def test_services_can_be_scaled_and_no_version_is_named() -> None:
    assert "container_name" not in COMPOSE
    assert not re.search(r"(?m)^version:", COMPOSE)


def test_a_container_is_given_longer_to_stop_than_the_server_takes_to_drain() -> None:
    grace, *_ = re.findall(r"stop_grace_period: (\d+)s", COMPOSE)  # the server's comes first
    (drain,) = [option.default for option in OPTIONS if option.name == "drain-timeout"]
    assert isinstance(drain, float)
    assert int(grace) > drain + 3


def stages() -> dict[str, str]:
    """The text of each named stage of the Dockerfile."""
    parts = re.split(r"(?m)^FROM (?:\S+) AS (\S+)\n", without_comments(DOCKERFILE))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("stage", ["server", "loadtest"])
def test_an_image_names_its_user_by_number_and_starts_without_a_shell(stage: str) -> None:
    text = stages()[stage]
    assert "USER 10001:10001\n" in text
    assert re.search(r"(?m)^ENTRYPOINT \[", text)
    # After it, nothing is written as somebody else.
    assert "RUN " not in text.partition("USER ")[2]


def test_the_dockerfile_says_nothing_that_one_of_the_builders_does_not_know() -> None:
    text = without_comments(DOCKERFILE)
    for syntax in ("--mount", "<<", "--link", "--chmod", "--start-interval", "ADD "):
        assert syntax not in text
    assert "syntax=" not in DOCKERFILE


def test_versions_come_from_one_place() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r"(?m)^ARG VERSION=(\S+)", DOCKERFILE)) == {project["version"]}
    (base,) = re.findall(r"(?m)^ARG PYTHON_IMAGE=(\S+)", DOCKERFILE)
    assert defaults()["STACK_PYTHON_IMAGE"] == base
    assert "PIP_CONSTRAINT=/src/constraints.txt" in DOCKERFILE


def test_the_image_compiles_c_as_the_load_tests_do() -> None:
    for name in ("limit", "drive"):
        assert f"gcc {' '.join(FLAGS)} -o {name} {name}.c" in DOCKERFILE
        assert Path(REPOSITORY, "loadtest", "closed_loop", f"{name}.c").exists()


def test_what_the_dockerfile_copies_is_sent_to_the_engine_and_nothing_else() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", DOCKERFILE)
    assert {name for names in copied for name in names.split()} == sent
    assert "*" in lines
