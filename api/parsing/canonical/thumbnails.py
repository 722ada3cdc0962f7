"""A few images of a set, to be looked at."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MOST = 12
_SIDE = 96


def thumbnails(
    path: Path, shape: tuple[int, ...], numbers: NDArray[Any], target: Callable[[int], object], kind: str
) -> list[dict[str, str]]:
    """Images of as many classes as possible, as PNG in base64; nothing for a grid that is no image of bytes."""
    if kind != "uint8":
        return []
    rows = np.load(path, mmap_mode="r")
    return [{"label": str(target(row)), "png": _png(rows[row].reshape(shape))} for row in _spread(numbers)]


def _spread(numbers: NDArray[Any]) -> list[int]:
    """Places of rows, class by class, as evenly as they go round."""
    classes, first, counts = np.unique(numbers, return_index=True, return_counts=True)
    if len(classes) >= _MOST:
        chosen = np.linspace(0, len(classes) - 1, _MOST).round().astype(np.int64)
        return [int(row) for row in first[chosen]]
    share = np.zeros(len(classes), np.int64)
    while share.sum() < min(_MOST, len(numbers)):
        place = int(np.argmin(np.where(share < counts, share, _MOST)))
        share[place] += 1
    found: list[int] = []
    for value, count in zip(classes, share, strict=True):
        found += np.flatnonzero(numbers == value)[:count].tolist()
    return found


def _png(pixels: NDArray[np.uint8]) -> str:
    """Pixels are (C, H, W) with one channel or three."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
