"""The examples in the runtime's docstrings are run as they stand."""

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import runtime
import runtime.testing

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
