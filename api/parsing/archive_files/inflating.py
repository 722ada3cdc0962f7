"""Inflate gzip, and count while doing it: what a file says of its own size is not believed."""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from api.parsing.contract import Limits, Refused, short
from api.parsing.upload import CHUNK, Budget

GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31

FREE_BYTES = 10 * 1024**2
"""Up to here a file may repeat itself as much as it likes."""


def check_inflation(inflated: int, compressed: int, name: str, limits: Limits) -> None:
    """Refuses a bomb."""
    if inflated > FREE_BYTES and inflated > compressed * limits.inflation:
        raise Refused(
            "bomb", f"{short(name)} inflates to more than {limits.inflation} times its size: upload it uncompressed"
        )


def inflated(inflate: "zlib._Decompress", chunk: bytes) -> Iterator[bytes]:
    """What one more piece of compressed data gives, never much at a time.

    Raises:
        zlib.error: if it is damaged.

    """
    while not inflate.eof:
        out = inflate.decompress(chunk, CHUNK)
        chunk = inflate.unconsumed_tail
        if out:
            yield out
        if not chunk and len(out) < CHUNK:
            return


def gunzipped(chunks: Iterable[bytes], compressed: int, name: str, limits: Limits, budget: Budget) -> Iterator[bytes]:
    """The content of a gzip file of one or several members. `compressed` is its size in bytes."""
    count, inflate = 0, None
    for chunk in chunks:
        while chunk:
            if inflate is None:
                chunk = chunk.lstrip(b"\0")  # some tools fill the end up with zeros
                if not chunk:
                    break
                inflate = zlib.decompressobj(_GZIP_WINDOW)
            try:
                for out in inflated(inflate, chunk):
                    count += len(out)
                    budget.spend(len(out))
                    check_inflation(count, compressed, name, limits)
                    yield out
            except zlib.error:
                raise Refused("unreadable", f"{short(name)} is damaged gzip data: pack it again") from None
            chunk = inflate.unused_data
            if inflate.eof:
                inflate = None
    if inflate is not None:
        raise Refused("unreadable", f"{short(name)} ends in the middle of its gzip data: upload it again, complete")


def write_chunks(chunks: Iterable[bytes], path: Path) -> Path:
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
    return path
