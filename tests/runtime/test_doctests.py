"""The examples in the runtime's docstrings and documents are run as they stand."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import runtime
import runtime.testing

ROOT = Path(__file__).parents[2]

MODULES = [
    "runtime",
    *(module.name for module in pkgutil.walk_packages(runtime.__path__, "runtime.")),
]


def load(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_do_what_they_say(name: str, anything_left: None) -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = {**vars(runtime), **vars(runtime.testing), **vars(load(name))}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in finder.find(load(name), extraglobs=examples):
        runner.run(test)
    assert runner.failures == 0


def test_the_examples_of_the_guide_do_what_they_say(anything_left: None) -> None:
    failed, tried = doctest.testfile(str(ROOT / "docs" / "runtime.md"), module_relative=False)
    assert failed == 0
    assert tried >= 30


def test_the_server_in_the_readme_is_a_server(
    monkeypatch: pytest.MonkeyPatch, anything_left: None
) -> None:
    """It serves for ever on a port of its own; here on one of the kernel's, one connection."""
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    listen, serve = runtime.listen, runtime.serve
    got: list[bytes] = []

    async def serve_one(listener: runtime.Listener, handler: Any) -> None:
        server = runtime.spawn(serve(listener, handler))
        async with await runtime.connect(*listener.address) as stream:
            await stream.send_all(b"hello")
            got.append(await stream.recv(100))
        listener.close()
        await server

    monkeypatch.setattr(runtime, "listen", lambda host, port: listen(host, 0))
    monkeypatch.setattr(runtime, "serve", serve_one)
    exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})
    assert got == [b"hello"]


def test_there_are_examples_to_run() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    count = sum(len(test.examples) for name in MODULES for test in finder.find(load(name)))
    assert count >= 10


@pytest.mark.parametrize("package", [runtime, runtime.testing])
def test_everything_public_is_there_and_explained(package: ModuleType) -> None:
    for name in package.__all__:
        thing = getattr(package, name)
        assert name == "PENDING" or thing.__doc__, name
    assert sorted(package.__all__) == sorted(set(package.__all__))
