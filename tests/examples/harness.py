"""How an example is run: in a process of its own, or here with what it prints caught."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Seconds that a process may take before a test gives it up; none takes a tenth of that.
PATIENCE = 40.0


def python(
    *arguments: str, preexec: Callable[[], object] | None = None
) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, in the project's folder, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        preexec_fn=preexec,
        timeout=PATIENCE,
    )


def examples(
    *arguments: str, preexec: Callable[[], object] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m examples ...`."""
    return python("-m", "examples", *arguments, preexec=preexec)


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines printed since it was last asked."""
    return capsys.readouterr().out.splitlines()
