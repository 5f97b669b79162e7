"""The layers that docs/architecture.md draws are those that the imports keep."""

import ast
import re
import sys
from pathlib import Path

import pytest

import runtime

PACKAGE = Path(runtime.__file__).parent
DOCUMENT = PACKAGE.parent / "docs" / "architecture.md"
FACE = {"__init__"}
STANDARD_LIBRARY = sys.stdlib_module_names


def documented() -> dict[str, int]:
    """Module -> the row of the table that it stands in, counted from above."""
    text = DOCUMENT.read_text()
    text = text[text.index("A file never imports") : text.index("The four words")]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {
        name.removesuffix(".py").rstrip("/"): row
        for row, cell in enumerate(rows)
        for name in re.findall(r"`([^`]+)`", cell)
    }


def imported(path: Path) -> set[str]:
    """The modules of the runtime that a file imports when it runs, not only for its types."""
    found = set()
    tree = ast.parse(path.read_text())
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node not in typing_only:
            found.add(str(node.module).split(".")[0])
    return found


MODULES = sorted({path.stem for path in PACKAGE.glob("*.py")} - FACE)


def test_every_file_is_in_the_table_once() -> None:
    names = {path.stem if path.suffix else path.name for path in PACKAGE.iterdir()}
    assert set(documented()) == names - FACE - {"__pycache__", "py"}


@pytest.mark.parametrize("name", MODULES)
def test_a_file_imports_none_that_stands_above_it(name: str) -> None:
    rows = documented()
    above = {other for other in imported(PACKAGE / f"{name}.py") if rows[other] < rows[name]}
    assert above == set()


@pytest.mark.parametrize("name", MODULES)
def test_the_runtime_imports_the_standard_library_alone(name: str) -> None:
    for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [str(node.module)]
        else:
            continue
        assert {each.split(".")[0] for each in names} <= STANDARD_LIBRARY
