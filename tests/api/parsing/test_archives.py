"""Zip and tar files that are made to do harm, and formats that are not what they are said to be."""

import gzip
import io
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.api.parsing.files import gray, npy_of, refused, take, tar_of, zip_of

GOOD = {"cat/1.png": gray(1), "dog/1.png": gray(2)}


@pytest.mark.parametrize(
    "name",
    ["../cat/2.png", "cat/../../2.png", "/cat/2.png", "C:/2.png", "c:2.png", "cat\\2.png", "cat/" + "x" * 1100],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    refused(tmp_path, zip_of({**GOOD, name: gray(3)}), "unsafe_archive", "unsafe name")
    refused(tmp_path, tar_of({**GOOD, name: gray(3)}), "unsafe_archive", "unsafe name")
    refused(tmp_path, tar_of({**GOOD, name: gray(3)}, dialect=tarfile.GNU_FORMAT), "unsafe_archive", "unsafe name")


def test_a_name_with_nul_is_refused(tmp_path: Path) -> None:
    data = zip_of({**GOOD, "cat/x2.png": gray(3)}).replace(b"cat/x2.png", b"cat/\x002.png")
    refused(tmp_path, data, "unsafe_archive", "unsafe name")


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, tar_of({**GOOD, "cat/2.png": "/etc/passwd"}), "unsafe_archive", "cat/2.png is a link")
    for kind in (tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            special = tarfile.TarInfo("dog/9.png")
            special.type = kind
            archive.addfile(special)
        refused(tmp_path, file.getvalue(), "unsafe_archive", "dog/9.png is a link or a device")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        link = zipfile.ZipInfo("cat/2.png")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    refused(tmp_path, file.getvalue(), "unsafe_archive", "cat/2.png is a link")


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    data = bytearray(tar_of(GOOD, dialect=tarfile.GNU_FORMAT))
    data[156:157] = b"S"
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    refused(tmp_path, bytes(data), "unsafe_archive", "sparse")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("cat/1.png")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "1000000000"}
        archive.addfile(info)
    refused(tmp_path, file.getvalue(), "unsafe_archive", "sparse")


def test_every_dialect_of_tar_is_read(tmp_path: Path) -> None:
    long = {f"{'top' * 30}/{kind}/{'ü' * 80}.png": gray(1) for kind in ("cat", "dog")}
    for dialect in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        for packed in ("", "gz"):
            found = take(tmp_path, tar_of(long, packed, dialect)).description
            assert [value.value for value in found.columns[0].values or ()] == ["cat", "dog"]
    take(tmp_path, tar_of({f"./{name}": data for name, data in GOOD.items()}, dialect=tarfile.USTAR_FORMAT))


def test_a_folder_whose_name_is_no_text_is_a_class_all_the_same(tmp_path: Path) -> None:
    data = bytearray(tar_of(GOOD, dialect=tarfile.GNU_FORMAT))
    name = data.find(b"cat/")
    data[name] = 0xFF
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (label,) = take(tmp_path, bytes(data)).description.columns
    assert label.values is not None
    assert "\ufffdat" in [value.value for value in label.values]


def test_a_damaged_tar_is_refused_wherever_it_is_damaged(tmp_path: Path) -> None:
    whole = tar_of(GOOD)
    end = whole.rstrip(b"\0")
    for data in (whole[:700], whole[:1024], end[: len(end) // 512 * 512 - 512]):
        refused(tmp_path, data, "unreadable", "damaged or incomplete")
    second = whole.index(b"dog/1.png")
    refused(tmp_path, whole[:second] + b"D" + whole[second + 1 :], "unreadable", "damaged or incomplete")


def test_encrypted_and_unusual_members_are_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of(GOOD))
    entry = data.find(b"PK\1\2")
    data[entry + 8] |= 1
    refused(tmp_path, bytes(data), "unsafe_archive", "cat/1.png is encrypted")
    refused(tmp_path, zip_of(GOOD, zipfile.ZIP_LZMA), "unreadable", "compressed in an unusual way")


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of({"cat/1.png": b"x" * 100, "dog/1.png": b"y" * 100, "dog/2.png": b"y"}, zipfile.ZIP_STORED))
    second = data.find(b"PK\1\2", data.find(b"PK\1\2") + 4)
    for offset in (0, 10):
        data[second + 42 : second + 46] = struct.pack("<I", offset)
        refused(tmp_path, bytes(data), "unsafe_archive", "share bytes")


def test_one_name_stands_for_one_member(tmp_path: Path) -> None:
    data = zip_of({**GOOD, "dog/2.png": gray(1)}).replace(b"dog/2.png", b"dog/1.png")
    refused(tmp_path, data, "unsafe_archive", "dog/1.png twice")


def test_a_member_that_was_altered_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of(GOOD, zipfile.ZIP_STORED))
    data[60] ^= 1
    refused(tmp_path, bytes(data), "unreadable", "cat/1.png is damaged in the zip")


def test_a_bomb_is_refused_by_its_directory(tmp_path: Path) -> None:
    bomb = zip_of({**GOOD, "cat/2.png": bytes(11 * 1024**2)})
    assert len(bomb) < 15_000  # a thousand to one
    refused(tmp_path, bomb, "bomb", "cat/2.png inflates to more than 100 times")
    refused(tmp_path, bomb, "too_large", "unpacked", inflation=10**6, inflated_bytes=10**6)


def test_a_bomb_with_a_directory_that_lies_is_refused_while_it_inflates(tmp_path: Path) -> None:
    data = bytearray(zip_of({**GOOD, "cat/2.png": bytes(11 * 1024**2)}))
    last = data.rfind(b"PK\1\2")
    data[last + 24 : last + 28] = struct.pack("<I", 500)
    refused(tmp_path, bytes(data), "unreadable", "cat/2.png is damaged in the zip")


def test_many_small_members_are_counted_together(tmp_path: Path) -> None:
    data = zip_of({f"cat/{number}.png": random.Random(number).randbytes(1000) for number in range(20)})
    refused(tmp_path, data, "too_large", "unpacked", inflated_bytes=19_999)
    refused(tmp_path, tar_of(GOOD, "gz"), "too_large", "unpacked", inflated_bytes=3000)


def million_entries(told: int) -> bytes:
    """The directory of a zip, and nothing else."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 10**6
    start = b"PK\3\4" + bytes(26)
    place = len(start) + len(directory)
    end_64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, told, told, len(directory), len(start))
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(directory), len(start), 0)
    return start + directory + end_64 + locator + end


@pytest.mark.slow
@pytest.mark.parametrize("told", [10**6, 5])
def test_a_million_entries_are_refused(tmp_path: Path, told: int) -> None:
    data = million_entries(told)
    refused(tmp_path, data, "too_large", "more than 200,000 entries")


def test_a_tar_of_many_entries_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, tar_of({f"cat/{number}": b"" for number in range(20)}), "too_large", "19 entries", entries=19)


def test_a_zip_with_wide_sizes_and_folders_is_read(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("cat/", "")
        for name, content in GOOD.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    assert take(tmp_path, file.getvalue()).description.rows == 2


@pytest.mark.parametrize("cut", [1, 10, 30, 200])
def test_an_incomplete_zip_is_refused(tmp_path: Path, cut: int) -> None:
    refused(tmp_path, zip_of(GOOD)[:-cut], "unreadable", "damaged or incomplete")


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (zip_of({}), "empty", "the archive is empty"),
        (zip_of({"__MACOSX/a/1.png": b"x", ".hidden/1.png": b"x"}), "empty", "the archive is empty"),
        (zip_of({"a.csv": b"a,b\n1,2\n"}), "unknown_format", "a.csv need not be packed"),
        (zip_of({"xl/workbook.xml": b"x"}), "unknown_format", "office document"),
        (zip_of({"notes.txt": b"x"}), "unknown_format", "notes.txt"),
        (gzip.compress(zip_of(GOOD), mtime=0), "unknown_format", "need not be gzipped"),
        (gzip.compress(npy_of(np.eye(2)), mtime=0), "unknown_format", "need not be gzipped"),
        (gray(1), "unknown_format", "a single image"),
        (b"%PDF-1.7", "unknown_format", "PDF"),
        (b"\x89HDF\r\n", "unknown_format", "HDF5"),
        (b"SQLite format 3\0", "unknown_format", "a database"),
        (b"PK\3\4" + b"x" * 100, "unreadable", "damaged or incomplete"),
    ],
)
def test_other_files_are_refused_by_what_they_are(tmp_path: Path, data: bytes, code: str, words: str) -> None:
    refused(tmp_path, data, code, words)


@pytest.mark.parametrize(
    ("format", "data", "words"),
    [
        ("parquet", b"a,b\n1,2\n", "looks like a text file, not like a Parquet file"),
        ("npy", b"a,b\n1,2\n", "not like a NumPy array"),
        ("images", b"a,b\n1,2\n", "not like an archive of images"),
        ("csv", zip_of(GOOD), "looks like an archive, not like a text file"),
        ("tsv", b"PAR1\x15\0", "looks like a Parquet file, not like a text file"),
    ],
)
def test_a_file_that_is_not_what_it_is_said_to_be_is_refused(
    tmp_path: Path, format: str, data: bytes, words: str
) -> None:
    refused(tmp_path, data, "wrong_format", words, format)


def test_text_that_begins_like_something_else_is_text(tmp_path: Path) -> None:
    for name in ("PK", "PAR1", "PK\3"):
        found = take(tmp_path, f"{name},b\n1,2\n").description
        assert found.format == "csv"


def test_a_member_may_be_empty(tmp_path: Path) -> None:
    take(tmp_path, zip_of({**GOOD, "empty.txt": b""}))
