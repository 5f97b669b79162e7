"""A real browser for what people look at: headless Chromium, driven by WebDriver.

Selenium speaks plain HTTP to `chromedriver`, and so needs no event loop in the tests' process; and
Debian builds browser and driver from one source, so they always fit each other. Selenium would
download a browser or a driver that it misses: it is told where both are, or not started.

Everything that a page says on the console and every request that it makes is kept by Chromium and
read from its logs, so that a test can ask for silence.
"""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

# Of a page and of a script in it: a shared machine is slow at times.
PATIENCE = 40
# A scrollbar takes no room from a page whose width is being measured; nothing is fetched for
# Chromium itself; and a container's small /dev/shm is not used.
FLAGS = (
    "--headless=new",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--no-first-run",
)


def missing() -> str:
    """Why there can be no browser here; "" if there can."""
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"no {program} here; on Debian: apt-get install chromium chromium-driver"
    return ""


@dataclass(frozen=True)
class Browser:
    """One browser with one page; `driver` is Selenium's own, for all that is not below."""

    driver: Chrome

    def look(self, width: int, height: int = 900, dark: bool = False, mobile: bool = False) -> None:
        """How the next pages are looked at: the size of the window, and light or dark."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"media": "screen", "features": [scheme]})

    def open(self, address: str) -> None:
        """Load a page to its end, with the console and the list of requests empty before."""
        self.console()
        self.requests()
        self.driver.get(address)

    def run(self, script: str, *arguments: object) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    def console(self) -> list[str]:
        """What the page has put on the console since the last call, errors of Chromium's own (a
        resource that did not load, a policy that forbade one) among it."""
        return [f"{entry['level']}: {entry['message']}" for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the last call, the page's own first."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def picture(self) -> bytes:
        """The whole page, to its end, as PNG."""
        width, height = self.run("return [innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self._devtools(
            "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
        )
        return base64.b64decode(shot["data"])

    def _devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)

    def _log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return entries


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Started, and ended with all its processes."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in FLAGS:
        options.add_argument(flag)
    if os.geteuid() == 0:
        # Chromium's own sandbox does not work for root, who tests in a container.
        options.add_argument("--no-sandbox")
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    try:
        driver.set_page_load_timeout(PATIENCE)
        driver.set_script_timeout(PATIENCE)
        yield Browser(driver)
    finally:
        driver.quit()
