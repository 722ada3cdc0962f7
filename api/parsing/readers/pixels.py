"""From a PNG or JPEG file to pixels, with Pillow kept on a short lead."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from api.parsing.contract import Limits, Refused, short

_GRAY = ("1", "L", "LA", "I", "I;16")
_DEEP = ("I", "I;16")
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")

Pixels = NDArray[np.uint8]


@contextmanager
def careful_pillow(limits: Limits) -> Iterator[None]:
    """Pillow refuses large images by itself, and keeps its warnings to itself."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = limits.image_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def header(data: bytes, name: str, limits: Limits) -> tuple[tuple[int, int], bool]:
    """Width and height of an image, and whether it is gray; nothing is decoded.

    Raises:
        Refused: if it is neither PNG nor JPEG, or has too many pixels.

    """
    with _opened(data, name, limits) as image:
        return image.size, image.mode in _GRAY


def pixels(data: bytes, name: str, size: tuple[int, int], gray: bool, limits: Limits) -> Pixels:
    """An image decoded and resized, flattened channel by channel.

    Raises:
        Refused: if it is damaged.

    """
    with _opened(data, name, limits) as image:
        try:
            plain = _plain(image, gray)
            if plain.size != size:
                plain = plain.resize(size, Image.Resampling.LANCZOS)
        except MemoryError:
            raise
        # Pillow's readers raise whatever they come upon in a damaged file.
        except Exception:
            raise _damaged(name) from None
    array: Pixels = np.asarray(plain)
    return array.ravel() if gray else array.transpose(2, 0, 1).ravel()


@contextmanager
def _opened(data: bytes, name: str, limits: Limits) -> Iterator[Image.Image]:
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels(name, limits) from None
    except MemoryError:
        raise
    except Exception:
        raise Refused("unreadable", f"{short(name)} is no readable PNG or JPEG image: save it anew") from None
    with image:
        if width * height > limits.image_pixels:
            raise _too_many_pixels(name, limits)
        if width * height == 0:
            raise _damaged(name)
        yield image


def _plain(image: Image.Image, gray: bool) -> Image.Image:
    """The same image in gray or in colours, on white where it is transparent."""
    image.load()
    if image.mode in _DEEP:
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode in _ALPHA or "transparency" in image.info:
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return image.convert("L" if gray else "RGB")


def _too_many_pixels(name: str, limits: Limits) -> Refused:
    return Refused("too_large", f"{short(name)} has more than {limits.image_pixels:,} pixels: make it smaller")


def _damaged(name: str) -> Refused:
    return Refused("unreadable", f"{short(name)} is damaged or incomplete: save it anew")
