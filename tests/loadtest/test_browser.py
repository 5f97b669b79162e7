"""The browser that other tests ask for silence hears what there is to hear."""

from pathlib import Path

from tests.loadtest.browser import Browser

NOISY = """<!DOCTYPE html><title>noisy</title><img src="missing.png" alt="">
<script>console.warn("beware")</script>"""


def test_what_a_page_says_and_asks_for_is_heard(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "noisy.html"
    page.write_text(NOISY)
    browser.open(page.as_uri())
    told = browser.console()
    assert any("beware" in line for line in told)
    assert any("missing.png" in line for line in told)
    assert browser.requests() == [page.as_uri(), (tmp_path / "missing.png").as_uri()]
    # The next page does not answer for this one.
    browser.open("about:blank")
    assert browser.console() == []


def test_a_page_sees_the_width_and_the_colours_that_it_is_looked_at_with(browser: Browser) -> None:
    seen = """return [innerWidth, matchMedia("(prefers-color-scheme: dark)").matches]"""
    browser.look(400, dark=True)
    browser.open("about:blank")
    assert browser.run(seen) == [400, True]
    browser.look(1400)
    assert browser.run(seen) == [1400, False]
