"""The table of complaints in the guide, and the tests: each names the other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROJECTS = "cpython|python_asyncio|trio|curio|anyio|uvloop"


def section() -> str:
    guide = (ROOT / "docs" / "runtime.md").read_text()
    _, _, rest = guide.partition("## What people ask of a runtime\n")
    return rest.partition("\n## ")[0]


def named() -> list[str]:
    return re.findall(r"`(test_\w+)`", section())


def defined() -> list[str]:
    found: list[str] = []
    for file in sorted((ROOT / "tests" / "runtime").rglob("test_*.py")):
        found += re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE)
    return found


def test_every_test_that_the_table_names_is_there() -> None:
    assert len(named()) >= 27
    assert set(named()) - set(defined()) == set()


def test_every_test_that_is_named_after_a_complaint_is_in_the_table() -> None:
    of_a_complaint = {name for name in defined() if re.search(rf"_({PROJECTS})_\d+(_|$)", name)}
    assert of_a_complaint == set(named())


def test_every_row_links_to_the_issue_that_its_test_is_named_after() -> None:
    links = dict(re.findall(r"^\[(\S+)\]: (https\S+)$", section(), re.MULTILINE))
    rows = [line.strip("|").split("|") for line in section().splitlines() if "`test_" in line]
    assert len(rows) == len(links)
    for complaint, _, tests in rows:
        (issue,) = re.findall(r"\[(\S+#\d+)\]", complaint)
        assert links[issue].endswith(f"/issues/{issue.partition('#')[2]}")
        for name in re.findall(r"`(test_\w+)`", tests):
            assert re.sub(r"\W", "_", issue) in name
