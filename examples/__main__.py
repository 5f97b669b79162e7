"""The command `python -m examples`: what there is, in reading order, and running one by its name.

Nothing is registered: a folder `part...` is a part, a file `sNN_name.py` in it is an example, and
the first line of its docstring says what it shows.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType

import examples

USAGE = """\
python -m examples                         list all examples, in reading order
python -m examples NAME [ARGUMENTS ...]    run one, by its name
python -m examples NAME --help             what it shows, and what can be chosen

Jack O'Connor's series "Async Rust in Three Parts" (2024), step by step, in Python.  Read the files
along with running them: each opens with what it shows, and ends where the next one begins.
docs/seed-series.md has what each of them measured.

for example:
  python -m examples threads --count 100
  python -m examples many_threads --most 500
  python -m examples join-all
"""


@dataclass(frozen=True)
class Example:
    """One file of a part."""

    name: str
    part: str  # the headline of the part
    module: ModuleType

    @property
    def headline(self) -> str:
        return headline(self.module)


def headline(module: ModuleType) -> str:
    return (module.__doc__ or "").partition("\n")[0]


def find_all() -> Iterator[Example]:
    """Every example of every part, in reading order."""
    for part in _modules(examples, r"part\d_\w+"):
        for module in _modules(part, r"s\d\d_\w+"):
            name = module.__name__.rpartition(".")[2].partition("_")[2]
            yield Example(name, headline(part), module)


def _modules(package: ModuleType, pattern: str) -> Iterator[ModuleType]:
    names = sorted(found.name for found in pkgutil.iter_modules(package.__path__))
    for name in names:
        if re.fullmatch(pattern, name):
            yield importlib.import_module(f"{package.__name__}.{name}")


def listing() -> str:
    """A line for each example, under its part's."""
    lines: list[str] = []
    part = ""
    found = list(find_all())
    width = max(len(example.name) for example in found)
    for example in found:
        if example.part != part:
            part = example.part
            lines += ["", part]
        lines.append(f"  {example.name:{width}}  {example.headline}")
    return "\n".join([*lines[1:], "", "python -m examples NAME runs one; --help says more"])


def _show(text: str) -> None:
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:  # as of `| head`; what is in the buffer would fail again at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """List the examples, or run one.  Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        _show(listing() + "\n")
        return 0
    if arguments[0] in ("-h", "--help"):
        _show(USAGE)
        return 0
    by_name = {example.name: example for example in find_all()}
    name = arguments[0].replace("-", "_")
    if name not in by_name:
        near = get_close_matches(name, by_name, n=1, cutoff=0)[0]
        sys.stderr.write(
            f"examples: there is no example {arguments[0]!r}; did you mean {near}? "
            "(python -m examples lists them)\n"
        )
        return 2
    sys.argv = [f"python -m examples {name}", *arguments[1:]]  # what its --help calls it
    try:
        by_name[name].module.main(arguments[1:])
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
