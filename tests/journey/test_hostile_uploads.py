"""Files that are made to harm: each is refused with its reason, the service stays small, and nothing of them stays."""

import gzip
import io
import struct
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
import pyarrow
import pyarrow.parquet
import pytest

from tests.datasets import npz, png, zipped
from tests.journey.service import Service, running_service
from tests.servers import http_client, running_valkey

MEBIBYTE = 1024**2


@pytest.fixture(scope="module")
def service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "descent.sqlite3").write_bytes(sqlite_template.read_bytes())
    settings = {"DESCENT_SCRATCH_DIR": str(folder / "scratch")}
    with (
        running_valkey(folder) as valkey,
        running_service(folder, f"sqlite:///{folder / 'descent.sqlite3'}", valkey, settings) as running,
    ):
        yield running


@contextmanager
def watched(process_id: int) -> Iterator[Callable[[], float]]:
    """How far, in MiB, the resident memory of a process rose above what it was."""
    process, peak, done = psutil.Process(process_id), [0], threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: (peak[0] - before) / MEBIBYTE
    finally:
        done.set()
        watcher.join()


def _npy_header(shape: str, kind: str = "<f8") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


def _pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([[{"any": "object"}]], object), allow_pickle=True)
    return buffer.getvalue()


def _with_link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("cats/one.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def _tar_with_device() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        device = tarfile.TarInfo("cats/one.png")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    return buffer.getvalue()


def _million_entries() -> bytes:
    """The directory of an archive of 10⁶ empty files, all of which are the same one."""
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 5, 0) + b"a/b.p"
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0) + b"a/b.p"
    count = 1_000_000
    size, start = len(entry) * count, len(local)
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return local + entry * count + end64 + locator + end


def _png_bomb() -> bytes:
    """A few bytes that say they are 60,000 × 60,000 pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    small = png(np.zeros((1, 4, 4), np.uint8))
    return zipped({"cats/one.png": bomb, "dogs/two.png": small})


def _truncated_parquet() -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"a": list(range(1_000)), "b": ["x"] * 1_000}), buffer)
    return buffer.getvalue()[:-200]


def _wide() -> bytes:
    return ",".join(f"c{n}" for n in range(100_000)).encode() + b"\n" + b",".join([b"1"] * 100_000) + b"\n"


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a pickled npy": (_pickled, "object"),
    "an npz that inflates 1000:1": (lambda: npz(x=np.zeros((40_000, 1_000)), y=np.zeros(40_000)), "times"),
    "an npy header that asks 32 GiB": (lambda: _npy_header("(65536, 65536)") + bytes(1_000), "bytes"),
    "a zip with ../": (lambda: zipped({"../../cats/one.png": b"1", "dogs/two.png": b"2"}), ".."),
    "a zip with absolute names": (lambda: zipped({"/etc/one.png": b"1", "/etc/two.png": b"2"}), "unsafe name"),
    "a zip with a link": (_with_link, "link"),
    "a tar with a device": (_tar_with_device, "link or a device"),
    "a zip of a million entries": (_million_entries, "more than 200,000 entries"),
    "a CSV with a long line": (lambda: b"a,b\n1,2\n" + b"1" * (8 * MEBIBYTE) + b",2\n", "line 3"),
    "a gzipped line of 1 GB": (
        lambda: gzip.compress(b"a,b\n", 1) + b"".join([gzip.compress(bytes([49]) * MEBIBYTE, 1)] * 1_024),
        "times",
    ),
    "100,000 columns": (_wide, "10,000"),
    "mixed encodings": (lambda: "stadt,wert\nZürich,1\n".encode() + "Köln,2\n".encode("latin-1"), "line 3"),
    "zero rows": (lambda: b"a,b\n", "row"),
    "no bytes but zeros": (lambda: bytes(10_000), ""),
    "a PNG bomb": (_png_bomb, "one.png"),
    "a truncated Parquet": (_truncated_parquet, "Parquet"),
    "formula cells": (
        lambda: b"name,value\nann,1\n\"=cmd|'/C calc'!A0\",2\nbob,3\n",
        "column name, row 2 begins like a formula",
    ),
    "random bytes": (lambda: np.random.default_rng(0).bytes(100_000), ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_with_its_reason_and_leaves_nothing(service: Service, what: str) -> None:
    make, reason = HOSTILE[what]
    content = make()
    with http_client(service.url, timeout=120) as http:
        with watched(service.programs[0].pid) as risen:
            began = time.monotonic()
            answer = http.post("/v1/datasets", content=content)
            assert time.monotonic() - began < 30
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["type"] == "urn:descent:problem:unreadable_dataset"
        assert reason in problem["detail"], problem["detail"]
        assert str(service.folder) not in answer.text
        assert risen() < 256
        assert http.get("/v1/datasets").json()["data"] == []
    assert list((service.folder / "scratch").iterdir()) == []
    assert [path for path in (service.folder / "storage").rglob("*") if path.is_file()] == []


def test_a_body_without_end_is_cut_off(service: Service) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"1" * MEBIBYTE

    with (
        http_client(service.url, timeout=120) as http,
        watched(service.programs[0].pid) as risen,
    ):
        try:
            answer = http.post("/v1/datasets", content=endless())
            assert answer.status_code == 413
        except httpx2.TransportError:
            pass  # it was told, and hung up on while it went on sending
        assert risen() < 256
    assert list((service.folder / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["1,nan", "2,3.5", "3,4.5"] * 10, 'have no "target"'),
        (["1,yes", "2,yes", "3,yes"] * 10, "no classes to tell apart"),
    ],
)
def test_targets_that_nothing_can_be_learned_from_are_refused(service: Service, rows: list[str], reason: str) -> None:
    content = "\n".join(["x,target", *rows]).encode()
    with http_client(service.url, timeout=60) as http:
        made = http.post("/v1/datasets", content=content).json()
        spec: dict[str, Any] = {"dataset": {"kind": "uploaded", "id": made["id"]}, "optimizer": "adam"}
        answer = http.post("/v1/jobs", json=spec)
        assert answer.status_code == 422
        assert reason in answer.json()["detail"]
        assert http.delete(f"/v1/datasets/{made['id']}").status_code == 204
