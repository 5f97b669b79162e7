"""The programs in C, compiled on the spot into the directory of the results.

There are two: the limit of all engines (`limit.c`) and a client for closed loops (`drive.c`). The
container image has no compiler, but has them ready beside their sources. Where there is neither,
what needs them is left out, and said so.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

COMPILERS = ("cc", "gcc", "clang")
# The Dockerfile has the same.
FLAGS = ("-O2",)
# Seconds; it takes a tenth of one.
PATIENCE = 60.0


class CannotCompile(Exception):
    """It cannot be built; the message says why."""


def compile_c(source: Path, binary: Path) -> None:
    """Compile one file into a directory that exists already, or copy what was compiled of it."""
    ready = source.with_suffix("")
    if ready.exists():
        shutil.copy(ready, binary)
        return
    command = [*_compiler(), *FLAGS, "-o", str(binary), str(source)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotCompile(f"{command[0]} does not run: {error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it does not say why"]
        raise CannotCompile(f"{command[0]} fails: {said[0]}")


def _compiler() -> list[str]:
    """$CC, else the first that is there."""
    chosen = shlex.split(os.environ.get("CC", ""))
    if chosen:
        return chosen
    for name in COMPILERS:
        if shutil.which(name):
            return [name]
    raise CannotCompile("there is no C compiler; on Debian: apt-get install gcc libc6-dev")
