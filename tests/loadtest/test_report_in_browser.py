"""The report as it is seen: on a telephone and on a desk, by day and by night, in a real browser.

Every table is unfolded before anything is looked at: what is hidden at first has to be right too.
"""

from pathlib import Path
from typing import Any

import pytest

from loadtest.report.page import render
from tests.loadtest.browser import Browser
from tests.loadtest.sample_results import (
    default_results,
    failed_results,
    sample_extremes,
    sample_results,
    strange_results,
)

PAGES = ("full", "default", "failed", "strange")
LOOKS = [(width, dark) for width in (400, 1400) for dark in (False, True)]
# Smaller text than this cannot be read on a telephone.
SMALLEST = 11
# What WCAG 2 asks of text (AA).
CONTRAST = 4.5

# What text there is: an element with characters of its own that is drawn.
TEXTS = """
const texts = [...document.querySelectorAll("body *")].filter(element =>
    [...element.childNodes].some(node => node.nodeType == 3 && node.data.trim())
    && !element.closest("title, desc, script, style")
    && element.getClientRects().length);
const name = element => `${element.tagName} "${element.textContent.trim().slice(0, 50)}"`;
"""
STICKING_OUT = (
    TEXTS
    + """
return [...document.querySelectorAll("body *")].filter(element => {
    if (element.closest(".scroll table, title, desc")) return false;
    const { left, right, width } = element.getBoundingClientRect();
    return width && (left < -0.5 || right > innerWidth + 0.5);
}).map(name);"""
)
BADLY_DRAWN = (
    TEXTS
    + """
const faults = [];
for (const svg of document.querySelectorAll("svg")) {
    const whole = svg.getBoundingClientRect();
    const boxed = text => [text, text.getBoundingClientRect()];
    const drawn = [...svg.querySelectorAll("text")].map(boxed);
    drawn.forEach(([text, box], place) => {
        if (box.left < whole.left - 1 || box.right > whole.right + 1
            || box.top < whole.top - 1 || box.bottom > whole.bottom + 1)
            faults.push(`${name(text)} is cut off in ${svg.querySelector("title").textContent}`);
        for (const [other, its] of drawn.slice(place + 1)) {
            const across = Math.min(box.right, its.right) - Math.max(box.left, its.left);
            const down = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
            if (across > 0.5 && down > 2)
                faults.push(`${name(text)} is over ${name(other)}`);
        }
    });
}
return faults;"""
)
TOO_SMALL = (
    TEXTS
    + """
return texts.map(element => {
    const svg = element.ownerSVGElement;
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    return [name(element), parseFloat(getComputedStyle(element).fontSize) * scale];
}).filter(([_, size]) => size < arguments[0]);"""
)
HARD_TO_READ = (
    TEXTS
    + """
const parts = colour => colour.match(/[\\d.]+/g).map(Number);
const luminance = colour => {
    const [r, g, b] = parts(colour).map(part => {
        const share = part / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = element => {
    for (let at = element; at; at = at.parentElement) {
        const colour = getComputedStyle(at).backgroundColor;
        if ((parts(colour)[3] ?? 1) > 0) return colour;
    }
    return "rgb(255, 255, 255)";
};
return texts.map(element => {
    const style = getComputedStyle(element);
    const ink = element.ownerSVGElement ? style.fill : style.color;
    const [light, dark] = [luminance(ink), luminance(ground(element))].sort((a, b) => b - a);
    return [name(element), (light + 0.05) / (dark + 0.05)];
}).filter(([_, contrast]) => contrast < arguments[0]);"""
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("reports")
    made = {
        "full": render(sample_results(), sample_extremes()),
        "default": render(default_results()),
        "failed": render(failed_results()),
        "strange": render(strange_results()),
    }
    for name, html in made.items():
        (directory / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: directory / f"{name}.html" for name in made}


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, pages: dict[str, Path]) -> Path:
    return pages[request.param]


@pytest.fixture(params=LOOKS, ids=lambda look: f"{look[0]}-{'dark' if look[1] else 'light'}")
def opened(request: pytest.FixtureRequest, browser: Browser, page: Path) -> Browser:
    width, dark = request.param
    browser.look(width, dark=dark)
    browser.open(page.as_uri())
    browser.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    return browser


def test_nothing_is_asked_of_the_network_and_the_console_is_silent(
    browser: Browser, page: Path
) -> None:
    browser.open(page.as_uri())
    assert browser.requests() == [page.as_uri()]
    assert browser.console() == []


def test_the_page_is_as_wide_as_the_window_and_easy_to_read(opened: Browser) -> None:
    width: list[Any] = opened.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    assert opened.run(STICKING_OUT) == []
    assert opened.run(BADLY_DRAWN) == []
    assert opened.run(TOO_SMALL, SMALLEST) == []
    assert opened.run(HARD_TO_READ, CONTRAST) == []


def test_a_wide_table_scrolls_in_its_own_box(browser: Browser, pages: dict[str, Path]) -> None:
    browser.look(400)
    browser.open(pages["full"].as_uri())
    boxes = browser.run(
        "return [...document.querySelectorAll('.scroll')].map(b => [b.scrollWidth, b.clientWidth])"
    )
    assert any(inner > outer for inner, outer in boxes)


def test_on_paper_nothing_stays_folded_and_the_ground_is_white(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.look(750, dark=True)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.open(pages["full"].as_uri())
    seen = browser.run(
        "return [...document.querySelectorAll('details')].map(each => "
        "each.lastElementChild.checkVisibility())"
    )
    assert seen
    assert all(seen)
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"


def test_charts_can_be_told_by_those_who_do_not_see_them(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["full"].as_uri())
    told = browser.run(
        "return [...document.querySelectorAll('svg')].map(svg => "
        "svg.getAttribute('aria-labelledby').split(' ').map(id => "
        "document.getElementById(id).textContent))"
    )
    assert len(told) == 12
    assert all(title and description for title, description in told)
    assert len({title for title, _ in told}) == len(told)
