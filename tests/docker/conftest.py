"""What runs without an engine is part of every run of the suite; the rest is `make docker-test`.

Tests marked `engine` build images and start containers. They are left out unless asked for by
`--engine`, and skipped with the reason where no engine answers.
"""

import os
from collections.abc import Iterator

import pytest

from tests.docker.engine import (
    ENGINES,
    LOADTEST,
    SERVER,
    Load,
    Stack,
    docker,
    stack,
    what_is_missing,
)

REPORT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("docker").addoption(
        "--engine", action="store_true", help="build the images and run the tests with containers"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "engine: needs a Docker engine (make docker-test)")
    config.stash[REPORT] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("engine")]
    # The option is unknown where pytest starts above this folder.
    if not config.getoption("engine", default=False):
        config.hook.pytest_deselected(items=marked)
        items[:] = [item for item in items if item not in marked]
        return
    missing = what_is_missing()
    if missing is not None:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=missing))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash[REPORT]:
        terminalreporter.write_line(line)


class Report:
    """Lines for the end of the run: what was found, not just that it was."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def __call__(self, line: str) -> None:
        self._lines.append(line)

    def load(self, engine: str, load: Load) -> None:
        found = load.result
        failed = sum(failure.count for failure in found.failures)
        self(
            f"{engine:<16} {found.asked:>6,} asked  {found.held_min:>6,} held  "
            f"{found.requests:>7,} echoes  {failed} failed  {found.lost} lost"
        )


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Report:
    return Report(request.config.stash[REPORT])


@pytest.fixture(scope="session")
def images(report: Report) -> None:
    """Both images, built by the compose file; their layers stay, for the next time."""
    Stack("c10k-test-build").must("build", "runtime", "locust", timeout=1200)
    base = size_of(os.environ.get("STACK_PYTHON_IMAGE", "python:3.11-slim-bookworm"))
    for image in (SERVER, LOADTEST):
        size = size_of(image)
        assert size is not None
        # BuildKit need not leave the base image where `docker image` looks for it.
        ours = f", of which {size - base:.0f} MB are not the base image's" if base else ""
        report(f"{image}: {size:.0f} MB{ours}")


def size_of(image: str) -> float | None:
    """In megabytes; None if the image is not here."""
    done = docker("image", "inspect", "--format", "{{.Size}}", image)
    return int(done.stdout) / 1e6 if done.returncode == 0 else None


@pytest.fixture(scope="session")
def running(images: None) -> Iterator[Stack]:
    """The five engines and the web UI, healthy."""
    with stack("all") as made:
        made.settings["COMPOSE_PROFILES"] = "engines"
        made.up()
        for service in (*ENGINES, "locust"):
            made.wait_for_health(service, "healthy")
        yield made
