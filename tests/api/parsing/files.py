"""Files to parse, made by other hands than the parser's: the standard library, numpy, pyarrow and pillow."""

import gzip
import io
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from api.parsing import Limits, Options, Parsed, Refused, parse

Array = NDArray[Any]


def take(
    folder: Path,
    data: bytes | str,
    format: str = "auto",
    *,
    image_size: int | None = None,
    parser: Callable[[Path, Path, Options, Limits], Parsed] = parse,
    **limits: int,
) -> Parsed:
    """Parse bytes; whatever comes of it, nothing but results is left beside them."""
    upload, results = folder / "upload", folder / "results"
    upload.write_bytes(data if isinstance(data, bytes) else data.encode())
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    try:
        parsed = parser(upload, results, Options(format, image_size), Limits(**limits))
    except BaseException:
        assert sorted(folder.rglob("*")) == [results, upload]
        raise
    assert {path.name for path in results.iterdir()} == set(parsed.description.sizes)
    for name, size in parsed.description.sizes.items():
        assert (results / name).stat().st_size == size
    return parsed


def refused(folder: Path, data: bytes | str, code: str, words: str, format: str = "auto", **options: Any) -> None:
    """Parse bytes, and see them refused."""
    with pytest.raises(Refused) as caught:
        take(folder, data, format, **options)
    assert (caught.value.code, words in caught.value.detail) == (code, True), caught.value.detail
    assert str(folder) not in caught.value.detail
    assert len(caught.value.detail) < 300


def rows(folder: Path) -> Array:
    found: Array = np.load(folder / "results" / "rows.npy")
    return found


def targets(folder: Path) -> Array:
    found: Array = np.load(folder / "results" / "targets.npy")
    return found


def zip_of(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


def tar_of(members: Mapping[str, bytes | str], packed: str = "", dialect: int = tarfile.PAX_FORMAT) -> bytes:
    """Text is the target of a link."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=dialect) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return gzip.compress(file.getvalue()) if packed == "gz" else file.getvalue()


def npy_of(array: Array, pickled: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


def npz_of(**arrays: Array) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def parquet_of(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def image_of(pixels: Array | Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, kind)
    return file.getvalue()


def gray(value: int, side: int = 4) -> bytes:
    return image_of(np.full((side, side), value, np.uint8))


def idx_of(array: Array) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
