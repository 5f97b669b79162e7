"""`c-epoll`: the mode that is no engine but the limit of all of them.

`limit.c` is an echo server in C that does nothing beyond what the kernel demands. What an engine
takes more than it is the engine's own; what both take is TCP, which no program can save. Where it
cannot be compiled it is left out, and said so.
"""

from pathlib import Path

from loadtest.closed_loop.compiled import CannotCompile, compile_c
from loadtest.runs.progress import Reporter

LIMIT = "c-epoll"
SOURCE = Path(__file__).with_name("limit.c")


def binary(out: Path) -> Path:
    """Where the program of a comparison is."""
    return (out / "raw" / LIMIT).absolute()


def build(out: Path) -> None:
    """Compile it for a comparison whose directory exists already."""
    compile_c(SOURCE, binary(out))


def buildable(modes: tuple[str, ...], out: Path, reporter: Reporter) -> tuple[str, ...]:
    """The modes, without the limit if it cannot be built; then the reporter says so."""
    if LIMIT in modes:
        try:
            build(out)
        except CannotCompile as fault:
            reporter.note(f"{LIMIT} is left out: {fault}")
            return tuple(mode for mode in modes if mode != LIMIT)
    return modes
