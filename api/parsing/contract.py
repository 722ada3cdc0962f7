"""What goes into the parser and what comes out, or why nothing does."""

from dataclasses import dataclass
from typing import Literal

from models.stored import Description, Preview

RESULT = "result.json"
"""The file that a child process writes."""
DISK_FULL = 75
"""Exit code of a child process that could not write: it could not write a result either."""

Format = Literal["auto", "csv", "tsv", "parquet", "npy", "npz", "images", "idx", "cifar"]


@dataclass(frozen=True)
class Limits:
    """How much an upload may ask for."""

    memory_bytes: int = 4 * 1024**3
    """Address space of the child."""
    cpu_seconds: int = 300
    """Of the child; by the clock it has twice that."""
    inflated_bytes: int = 2 * 1024**3
    """Of everything compressed in an upload together, and of each file that is written."""
    inflation: int = 100
    """How many times its compressed size a file may have, once it exceeds 10 MiB."""
    rows: int = 10_000_000
    columns: int = 10_000
    entries: int = 200_000
    """Members of an archive."""
    line_bytes: int = 1024**2
    """Of a line of a text file."""
    image_pixels: int = 4_000_000
    """Of one image."""
    classes: int = 1_000
    """And categories of a column."""
    stored_bytes: int | None = None
    """Of the files that are kept in storage, together: the rest of the owner's quota. None: no quota."""


@dataclass(frozen=True)
class Options:
    """What the uploader says about the file."""

    format: str = "auto"
    """auto, csv, tsv, parquet, npy, npz, images, idx or cifar."""
    image_size: int | None = None
    """Pixels a side that images are resized to."""


@dataclass(frozen=True)
class Parsed:
    """An upload that lies in its folder as rows of numbers."""

    description: Description
    preview: Preview


class Refused(Exception):
    """An upload that cannot be taken: `detail` names the place and the remedy in one sentence.

    `code` is one of empty, too_large, too_slow, bomb, unreadable, unknown_format, wrong_format, unsafe_archive; of text
    and tables not_utf8, nul, line_too_long, ragged, column_names, column_type, formula, not_finite; of arrays and grids
    pickled, array_type, shape, members, lengths, labels. over_quota says that the owner's quota is too small, not that
    the file is wrong.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


def short(text: str, most: int = 40) -> str:
    """The beginning of the uploader's own words, to stand in a refusal, without line breaks and control characters."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(character if character.isprintable() else "·" for character in cut)
