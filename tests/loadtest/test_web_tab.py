"""Locust's web UI in a real browser: the tab Connections, as somebody at work sees it.

Each test starts a Locust of its own, fills in its form and looks at the tab. A figure is
waited for, and compared with what the kernel says of the server's processes.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.loadtest import harness
from tests.loadtest.browser import Browser
from tests.loadtest.conftest import Server, running_server
from tests.loadtest.harness import LOCUSTFILE, PATIENCE, REPOSITORY, HostileServer, LocustRun

USERS = 120


class WebLocust:
    """Locust with its web UI, on a port of the kernel's."""

    def __init__(self, directory: Path, host: str, *flags: str) -> None:
        self.log = directory / "locust.log"
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--host", host]
        command += ["--web-host", "127.0.0.1", "--web-port", "0", "--pacing", "0.5", *flags]
        env = {key: value for key, value in os.environ.items() if not key.startswith("LOCUST_")}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def url(self) -> str:
        """Waited for: Locust names its port only as it was asked for."""
        found: list[int] = []

        def listens() -> bool:
            assert self._process.poll() is None, self.log.read_text()
            ours = psutil.Process(self._process.pid).net_connections("tcp4")
            found[:] = [
                each.laddr.port
                for each in ours
                if each.status == psutil.CONN_LISTEN and each.laddr.ip == "127.0.0.1"
            ]
            return bool(found)

        eventually(listens)
        return f"http://127.0.0.1:{found[0]}/"

    def end(self) -> str:
        """Its log, after SIGTERM."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self.log.read_text()


def eventually(condition: Callable[[], object], said: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)


class Page:
    """What somebody does in Locust's page, and sees in the tab."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    def fill_in_and_start(self, users: int = USERS) -> None:
        eventually(lambda: self._named("userCount"))
        for name in ("userCount", "spawnRate"):
            (field,) = self._named(name)
            field.send_keys(Keys.CONTROL, "a")
            field.send_keys(str(users))
        self.browser.driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()

    def open_tab(self) -> None:
        self.press("[role=tab]", "connections")
        eventually(lambda: self.browser.run("return !!document.querySelector('main .c10k')"))

    def press(self, selector: str, text: str) -> None:
        def pressed() -> bool:
            with suppress(StaleElementReferenceException):
                for each in self.browser.driver.find_elements(By.CSS_SELECTOR, selector):
                    if each.is_displayed() and each.text.lower() == text:
                        each.click()
                        return True
            return False

        eventually(pressed, lambda: f"no {text}")

    def _named(self, name: str) -> list[Any]:
        return self.browser.driver.find_elements(By.NAME, name)

    def figure(self, name: str) -> float | None:
        """None where it says that it is not measured, or says nothing at all yet."""
        value = self.browser.run(
            "return document.querySelector(`main [data-figure=${arguments[0]}] .c10k-now`)"
            "?.dataset.value",
            name,
        )
        return float(value) if value else None

    def wait_for(self, name: str, value: float | None) -> None:
        eventually(
            lambda: self.figure(name) == value,
            lambda: f"{name} is {self.figure(name)}, not {value}: {self.text()}",
        )

    def text(self) -> str:
        return str(self.browser.run("return document.querySelector('main .c10k')?.innerText ?? ''"))

    def problem(self) -> str:
        script = "return document.querySelector('main .c10k-problem:not([hidden])')?.innerText"
        return str(self.browser.run(script) or "")

    def overflows(self) -> bool:
        return bool(
            self.browser.run(
                "const part = document.querySelector('main .c10k');"
                "return document.documentElement.scrollWidth > innerWidth"
                " || [part, ...part.querySelectorAll('*')].some("
                "  (each) => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0)"
            )
        )

    def ground(self) -> str:
        return str(self.browser.run("return getComputedStyle(document.body).backgroundColor"))

    def contrast(self) -> float:
        """Of the large figures with the page's ground, as WCAG 2 defines it."""
        ratio: float = self.browser.run(
            """
            const light = (colour) => {
              const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
                const share = part / 255;
                return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
              });
              return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
            };
            const ink = getComputedStyle(document.querySelector("main .c10k-now")).color;
            const both = [light(ink), light(getComputedStyle(document.body).backgroundColor)];
            return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
            """
        )
        return ratio


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Nothing on the console, and nothing asked of anybody but Locust."""
    browser.look(1400)
    page = Page(browser)
    yield page
    assert browser.console() == []
    asked = [each for each in browser.requests() if not each.startswith("data:")]
    assert all(each.startswith("http://127.0.0.1:") for each in asked), asked
    browser.open("about:blank")


@contextmanager
def web_locust(page: Page, directory: Path, host: str, *flags: str) -> Iterator[WebLocust]:
    locust = WebLocust(directory, host, *flags)
    try:
        page.browser.open(locust.url)
        yield locust
        # Before Locust ends: a page whose Locust is gone says so on the console.
        assert page.browser.console() == []
        page.browser.driver.get("about:blank")
    finally:
        log = locust.end()
    assert "Traceback" not in log, log


def family(server: Server) -> list[psutil.Process]:
    root = psutil.Process(server.pid)
    return [root, *root.children(recursive=True)]


def threads(server: Server) -> int:
    return sum(len(os.listdir(f"/proc/{each.pid}/task")) for each in family(server))


def memory(server: Server) -> int:
    return sum(each.memory_info().rss for each in family(server))


@pytest.mark.parametrize(
    ("mode", "flags", "by_metrics"),
    [
        ("threads", [], False),
        ("runtime", ["--workers", "2"], False),
        ("runtime", ["--workers", "2", "--admin", "127.0.0.1:0"], True),
    ],
    ids=["a rival", "workers", "server metrics"],
)
def test_the_figures_are_those_of_the_server(
    page: Page, tmp_path: Path, mode: str, flags: list[str], by_metrics: bool
) -> None:
    with running_server(mode, tmp_path, *flags) as server:
        told = f"http://127.0.0.1:{server.admin}/metrics" if by_metrics else ""
        # What is given wins over what could be found.
        host = f"tcp://127.0.0.1:{server.echo}"
        with web_locust(page, tmp_path, host, *(["--server-metrics", told] if told else [])):
            page.fill_in_and_start()
            page.open_tab()
            page.wait_for("held", USERS)
            # A thread of the admin port's comes for each page that it makes.
            near = 1 if by_metrics else 0
            eventually(
                lambda: abs((page.figure("threads") or 0) - threads(server)) <= near,
                lambda: f"{threads(server)} threads: {page.text()}",
            )
            assert page.figure("rss") == pytest.approx(memory(server), rel=0.1)
            eventually(lambda: (page.figure("cpu") or 0) > 0)
            assert page.problem() == ""
            assert (told or f"listening on 127.0.0.1:{server.echo}") in page.text()


def test_start_stop_and_start_again_in_light_and_dark(page: Page, tmp_path: Path) -> None:
    with (
        running_server("runtime", tmp_path) as server,
        web_locust(page, tmp_path, f"tcp://127.0.0.1:{server.echo}") as locust,
    ):
        page.fill_in_and_start()
        page.open_tab()
        page.wait_for("held", USERS)
        assert f"asked {USERS}" in page.text()
        assert "lost 0" in page.text()
        assert page.figure("threads") == threads(server)
        assert page.figure("rss") == pytest.approx(memory(server), rel=0.1)
        for width in (400, 1400):
            page.browser.look(width)
            assert not page.overflows()

        before = page.contrast()
        ground = page.ground()
        page.press("header button", "")  # the sun and moon: of those in sight the one without text
        eventually(lambda: page.ground() != ground)
        assert min(before, page.contrast()) >= 7
        page.browser.driver.refresh()
        page.wait_for("held", USERS)  # the tab that was open is so after a reload

        page.press("button", "stop")
        page.wait_for("held", 0)
        assert "no test runs" in page.text()
        page.browser.driver.refresh()
        page.wait_for("held", 0)
        page.press("[role=tab]", "statistics")
        eventually(lambda: page.text() == "")
        page.open_tab()

        page.press("button", "new")
        page.fill_in_and_start(USERS // 2)
        page.open_tab()
        page.wait_for("held", USERS // 2)
        assert "asked 60" in page.text()
    assert locust.log.read_text().count("no figures of the server") == 0


def test_the_workers_of_locust_are_added_up(page: Page, tmp_path: Path) -> None:
    port = str(free_port())
    flags = ["--processes", "2", "--master-bind-host", "127.0.0.2"]
    flags += ["--master-host", "127.0.0.2", "--master-bind-port", port, "--master-port", port]
    with (
        running_server("asyncio", tmp_path) as server,
        web_locust(page, tmp_path, f"tcp://127.0.0.1:{server.echo}", *flags),
    ):
        page.fill_in_and_start()
        page.open_tab()
        page.wait_for("held", USERS)
        assert "2 Locust workers" in page.text()
        assert page.figure("rss") == pytest.approx(memory(server), rel=0.1)
        page.press("button", "stop")
        page.wait_for("held", 0)


def test_a_server_that_cannot_be_seen_is_words_until_it_can(page: Page, tmp_path: Path) -> None:
    port = free_port()
    with web_locust(page, tmp_path, f"tcp://127.0.0.1:{port}") as locust:
        page.fill_in_and_start(2)
        page.open_tab()
        eventually(lambda: "not measured" in page.problem())
        assert f"Nobody listens on 127.0.0.1:{port}" in page.problem()
        assert "--server-metrics http://HOST:PORT/metrics" in page.problem()
        page.wait_for("held", 0)
        for name in ("rss", "cpu", "threads"):
            assert page.figure(name) is None
        assert page.text().count("not measured") == 4
        page.browser.look(400)
        assert not page.overflows()
        page.browser.look(1400)
        with HostileServer(harness.honest, ("127.0.0.1", port)):
            # It is the process of this test that listens now.
            eventually(lambda: (page.figure("rss") or 0) > 0, page.text)
            assert f"process {os.getpid()}" in page.text()
            assert page.problem() == ""
            page.press("button", "stop")
            page.wait_for("held", 0)
    # Said once, not each second.
    assert locust.log.read_text().count("Nobody listens") == 1


def test_figures_are_old_when_locust_is_gone(page: Page, tmp_path: Path) -> None:
    with running_server("asyncio", tmp_path) as server:
        locust = WebLocust(tmp_path, f"tcp://127.0.0.1:{server.echo}")
        try:
            page.browser.open(locust.url)
            page.fill_in_and_start(2)
            page.open_tab()
            page.wait_for("held", 2)
        finally:
            locust.end()
        eventually(lambda: "Locust does not answer" in page.problem())
        page.browser.driver.get("about:blank")
        page.browser.console()  # Chromium's own word of each request that failed


def test_without_a_web_ui_nobody_looks(tmp_path: Path) -> None:
    with HostileServer(harness.honest) as echo, HostileServer(harness.silent) as metrics:
        told = f"http://127.0.0.1:{metrics.port}/metrics"
        flags = ["--users", "2", "--spawn-rate", "2", "--pacing", "0.2", "--hold", "2"]
        run = LocustRun(tmp_path, echo.port, *flags, "--server-metrics", told, "EchoUser")
        assert run.finish().measured().held_min == 2
        assert metrics.peers == []


def free_port() -> int:
    """One on which nobody listens, for somebody who will later."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
