"""The files that a run leaves behind: what both processes said, and the raw figures."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFiles:
    """`DIR/raw/SCENARIO-CONNECTIONS-ENGINE-REPEAT.*`"""

    server_out: Path
    server_log: Path
    client_out: Path
    client_log: Path
    figures: Path

    @classmethod
    def below(cls, out: Path, name: str) -> "RunFiles":
        stem = out / "raw" / name
        return cls(
            server_out=stem.with_suffix(".server.out"),
            server_log=stem.with_suffix(".server.log"),
            client_out=stem.with_suffix(".client.out"),
            client_log=stem.with_suffix(".client.log"),
            figures=stem.with_suffix(".figures.jsonl"),
        )
