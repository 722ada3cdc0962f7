"""Files of every format, damaged at random: each is parsed or refused, and nothing else comes of it."""

import contextlib
import gzip
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.parsing import Refused
from tests.api.parsing.files import gray, idx_of, image_of, npy_of, npz_of, parquet_of, take, tar_of, zip_of

PAIR = {"a-images-idx3-ubyte": idx_of(np.ones((3, 2, 2))), "a-labels-idx1-ubyte": idx_of(np.array([1, 2, 1]))}
IMAGES = {
    "cat/1.png": gray(1),
    "dog/1.jpg": image_of(np.full((8, 8, 3), 9, np.uint8), "JPEG"),
    "dog/2.png": image_of(np.eye(5, dtype=np.uint8)),
}
WORDS = pa.array(["a", "b", None] * 5).dictionary_encode()
RECORDS = bytes([3]) + bytes(3072)
FILES = {
    "csv": b'a,b,c,d\n1,0.5,x,2020-01-01\n?,-1e3,"y, z",2021-12-31\n3,,x,\n',
    "tsv": "größe\tb\r\n1\ttrue\r\n2\tfalse\r\n".encode(),
    "csv.gz": gzip.compress(b"a,b\n1,2\n3,4\n", mtime=0),
    "parquet": parquet_of(a=[1, None, 3] * 5, b=WORDS, c=[0.5, 1.5, 2.5] * 5),
    "npy": npy_of(np.arange(12.0).reshape(4, 3)),
    "npz": npz_of(x=np.arange(12.0).reshape(4, 3), y=np.array(["a", "b", "a", "b"])),
    "npz of images": npz_of(x=np.arange(32, dtype=np.uint8).reshape(2, 4, 4), y=np.array([0, 1])),
    "stored npz": zip_of({"x.npy": npy_of(np.eye(3)), "y.npy": npy_of(np.arange(3))}, 0),
    "images": zip_of(IMAGES),
    "stored images": zip_of(IMAGES, 0),
    "tar of images": tar_of(dict(IMAGES)),
    "tar.gz of images": tar_of(dict(IMAGES), "gz"),
    "idx": zip_of(PAIR),
    "idx.gz": tar_of({f"{name}.gz": gzip.compress(data, mtime=0) for name, data in PAIR.items()}),
    "cifar": zip_of(
        {"data_batch_1.bin": RECORDS, "batches.meta.txt": b"\n".join(b"abcdefghij"[i : i + 1] for i in range(10))}
    ),
}
FORMATS = ["auto", "csv", "tsv", "parquet", "npy", "npz", "images", "idx", "cifar"]
SMALL: dict[str, Any] = {"inflated_bytes": 64 * 1024**2, "image_pixels": 100_000, "rows": 100_000, "columns": 1000}
HARD = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

places = st.floats(0, 1)
pieces = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.sampled_from(
        [b"\xff" * 4, b"\0" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"PK\1\2", b"\n", b",", b'"', b"=1", b"1e999"]
    ),
)
changes = st.lists(st.tuples(st.sampled_from(["flip", "put", "insert", "delete", "cut"]), places, pieces), max_size=4)


def changed(data: bytes, kind: str, place: float, piece: bytes) -> bytes:
    at = int(place * len(data))
    match kind:
        case "flip":
            return data[:at] + bytes(byte ^ piece[0] or 1 for byte in data[at : at + 1]) + data[at + 1 :]
        case "put":
            return data[:at] + piece + data[at + len(piece) :]
        case "insert":
            return data[:at] + piece + data[at:]
        case "delete":
            return data[:at] + data[at + len(piece) :]
        case _:
            return data[:at]


def survives(data: bytes, format: str) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Refused):
        take(Path(folder), data, format, **SMALL)


@pytest.mark.parametrize("name", FILES)
def test_an_undamaged_file_is_parsed(tmp_path: Path, name: str) -> None:
    assert take(tmp_path, FILES[name]).description.rows > 0


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_parsed_or_refused(name: str) -> None:
    @HARD
    @given(changes)
    def holds(them: list[tuple[str, float, bytes]]) -> None:
        data = FILES[name]
        for kind, place, piece in them:
            data = changed(data, kind, place, piece)
        survives(data, "auto")

    holds()


@HARD
@given(st.binary(max_size=3000), st.sampled_from(FORMATS))
def test_any_bytes_are_parsed_or_refused(data: bytes, format: str) -> None:
    survives(data, format)


@HARD
@given(st.text(st.sampled_from("ab019.-+e=@,;\t\"'\n\r ?é€/:T"), max_size=200), st.sampled_from(["auto", "csv", "tsv"]))
def test_any_text_is_parsed_or_refused(text: str, format: str) -> None:
    survives(text.encode(), format)


@HARD
@given(st.sampled_from(sorted(FILES)), st.sampled_from(FORMATS))
def test_any_file_under_any_name_is_parsed_or_refused(name: str, format: str) -> None:
    survives(FILES[name], format)
