"""Files that people upload, written by hand."""

import gzip
import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]


def passengers(rows: int = 400) -> bytes:
    """A CSV of mixed columns with empty cells; who survived goes by sex, class and age."""
    draws = np.random.default_rng(7)
    lines = ["name,class,sex,age,fare,boarded,alone,port,survived"]
    for row in range(rows):
        sex, first = draws.choice(["female", "male"]), draws.random() < 0.4
        age = draws.integers(1, 70)
        lived = (sex == "female" or age < 12) ^ (draws.random() < 0.08)
        cells = [
            f'"Passenger, No. {row}"',
            "first" if first else "third",
            sex,
            "" if draws.random() < 0.15 else str(age),
            f"{draws.exponential(80 if first else 12):.2f}",
            f"1912-04-{draws.integers(1, 30):02d}",
            "true" if draws.random() < 0.5 else "false",
            "" if row == 5 else draws.choice(["C", "Q", "S"]),
            "yes" if lived else "no",
        ]
        lines.append(",".join(cells))
    return "\n".join(lines).encode()


def drawings(rows: int, channels: int = 1, side: int = 12, classes: int = 3) -> tuple[Bytes, Bytes]:
    """Images (N, C, H, W) and their classes: a bright bar whose place tells the class, and noise."""
    draws = np.random.default_rng(11)
    labels = draws.integers(0, classes, rows).astype(np.uint8)
    pixels = draws.integers(0, 90, (rows, channels, side, side), dtype=np.uint8)
    width = side // classes
    for row, label in enumerate(labels):
        pixels[row, :, :, label * width : (label + 1) * width] += 120
    return pixels, labels


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def png(pixels: Bytes) -> bytes:
    """Of (C, H, W)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, 2)).save(buffer, "PNG")
    return buffer.getvalue()


def class_folders(rows: int = 240) -> bytes:
    """A zip of PNG files in folders named like their classes."""
    pixels, labels = drawings(rows, 3)
    names = ["left", "middle", "right"]
    return zipped(
        {f"bars/{names[label]}/{n}.png": png(p) for n, (p, label) in enumerate(zip(pixels, labels, strict=True))}
    )


def idx(array: Bytes) -> bytes:
    """The format of MNIST's files: type and dimensions, the sizes, the numbers."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_files(rows: int = 300) -> dict[str, bytes]:
    """The four files of a set like MNIST."""
    pixels, labels = drawings(rows)
    pixels, half = pixels[:, 0], rows * 2 // 3
    parts = {"train": slice(0, half), "t10k": slice(half, rows)}
    files = {}
    for name, part in parts.items():
        files[f"{name}-images-idx3-ubyte.gz"] = gzip.compress(idx(pixels[part]), mtime=0)
        files[f"{name}-labels-idx1-ubyte.gz"] = gzip.compress(idx(labels[part]), mtime=0)
    return files


def cifar_file(rows: int = 200) -> bytes:
    """One of CIFAR-10's binary files: a class and 3 × 32 × 32 pixels a record."""
    pixels, labels = drawings(rows, 3, 32)
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(pixels, labels, strict=True))


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
