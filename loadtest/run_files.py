"""The files that a run leaves behind: what both processes said, and the raw figures."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFiles:
    """`DIR/raw/MODE-REPEAT.*`"""

    server_out: Path
    server_log: Path
    locust_out: Path
    locust_log: Path
    figures: Path

    @classmethod
    def below(cls, out: Path, mode: str, repeat: int) -> "RunFiles":
        stem = out / "raw" / f"{mode}-{repeat}"
        return cls(
            server_out=stem.with_suffix(".server.out"),
            server_log=stem.with_suffix(".server.log"),
            locust_out=stem.with_suffix(".locust.out"),
            locust_log=stem.with_suffix(".locust.log"),
            figures=stem.with_suffix(".figures.jsonl"),
        )
