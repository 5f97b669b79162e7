"""How much memory this process holds, and the most that it ever held; in bytes.

`ru_maxrss` is the most that the *process* ever held, and that begins before `exec`: a small child
of a large parent is told the parent's size.  Linux keeps the same figure for the program alone.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
from pathlib import Path


def give_back() -> None:
    """Return what nobody uses to the system, so that `resident` is what somebody holds.

    The collector empties the interpreter's free lists as well: a hundred floats in them can keep
    30 MB.  glibc keeps up to 64 MB for the next one who asks.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def resident() -> int:
    """What it holds now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def peak() -> int:
    """The most it ever held."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
