"""One upload while it is being parsed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from api.parsing.contract import Limits, Options, Refused

CHUNK = 1024**2


@dataclass(frozen=True)
class Upload:
    """Where a file lies, where its rows go, and what it may cost."""

    path: Path
    folder: Path
    scratch: Path
    """For files that live as long as the parsing."""
    options: Options
    limits: Limits
    budget: "Budget" = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "budget", Budget(self.limits.inflated_bytes))


@dataclass
class Budget:
    """How many bytes may still be inflated."""

    left: int

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise Refused("too_large", "unpacked, the file exceeds the limit of this server: upload a part of it")


def chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
