"""`c-epoll`: the mode that is no engine but the limit of all of them.

`limit.c` is an echo server in C that does nothing beyond what the kernel demands. What an engine
takes more than it is the engine's own; what both take is TCP, which no program can save. It is
compiled on the spot. Where there is no compiler it is left out, and said so.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from loadtest.progress import Reporter

LIMIT = "c-epoll"
SOURCE = Path(__file__).with_name("limit.c")
COMPILERS = ("cc", "gcc", "clang")
# Seconds; it takes a tenth of one.
PATIENCE = 60.0


class NoLimit(Exception):
    """It cannot be built; the message says why."""


def binary(out: Path) -> Path:
    """Where the program of a comparison is."""
    return (out / "raw" / LIMIT).absolute()


def build(out: Path) -> None:
    """Compile it for a comparison whose directory exists already."""
    command = [*_compiler(), "-O2", "-o", str(binary(out)), str(SOURCE)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoLimit(f"{command[0]} does not run: {error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it does not say why"]
        raise NoLimit(f"{command[0]} fails: {said[0]}")


def buildable(modes: tuple[str, ...], out: Path, reporter: Reporter) -> tuple[str, ...]:
    """The modes, without the limit if it cannot be built; then the reporter says so."""
    if LIMIT in modes:
        try:
            build(out)
        except NoLimit as fault:
            reporter.note(f"{LIMIT} is left out: {fault}")
            return tuple(mode for mode in modes if mode != LIMIT)
    return modes


def _compiler() -> list[str]:
    """$CC, else the first that is there."""
    chosen = shlex.split(os.environ.get("CC", ""))
    if chosen:
        return chosen
    for name in COMPILERS:
        if shutil.which(name):
            return [name]
    raise NoLimit("there is no C compiler; on Debian: apt-get install gcc libc6-dev")
