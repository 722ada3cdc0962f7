"""The files of MNIST and CIFAR, made small."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from api.parsing.readers import known
from tests.api.parsing.files import idx_of, refused, rows, take, tar_of, targets, zip_of

TRAIN = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
TEST = TRAIN[:1] + 100
PAIRS = {
    "t10k-images-idx3-ubyte": idx_of(TEST),
    "t10k-labels-idx1-ubyte": idx_of(np.array([7])),
    "train-images-idx3-ubyte": idx_of(TRAIN),
    "train-labels-idx1-ubyte": idx_of(np.array([5, 0, 5])),
}


def gzipped(members: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in members.items()}


@pytest.mark.parametrize(
    "data",
    [
        zip_of(PAIRS),
        zip_of(gzipped(PAIRS)),
        tar_of(dict(gzipped(PAIRS))),
        tar_of({f"mnist/{name}": content for name, content in PAIRS.items()}, "gz"),
        zip_of({name.replace("-idx", ".idx"): content for name, content in PAIRS.items()}),
    ],
)
def test_pairs_are_joined_and_training_comes_first(tmp_path: Path, data: bytes) -> None:
    parsed = take(tmp_path, data)
    found = parsed.description
    assert (found.format, found.layout, found.rows, found.grid, found.numbers) == ("idx", "grid", 4, (1, 2, 2), "uint8")
    assert rows(tmp_path).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [100, 101, 102, 103]]
    assert targets(tmp_path).tolist() == [5, 0, 5, 7]
    (label,) = found.columns
    assert (label.type, [value.value for value in label.values or ()]) == ("integer", ["0", "5", "7"])
    assert found.notes == ("the rows for training come first, then the others",)
    assert found.known is None
    assert [image["label"] for image in parsed.preview.thumbnails] == ["0", "5", "5", "7"]


def test_one_pair_needs_no_names(tmp_path: Path) -> None:
    for kind in ("auto", "idx"):
        found = take(tmp_path, zip_of({"a": idx_of(TRAIN), "b": idx_of(np.array([1, 2, 3]))}), kind).description
        assert (found.rows, found.notes) == (3, ())


def test_published_files_are_known_by_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    originals = gzipped(PAIRS)
    monkeypatch.setitem(known._KNOWN, "mnist", {hashlib.sha256(data).hexdigest() for data in originals.values()})
    assert take(tmp_path, zip_of(originals)).description.known == "mnist"
    assert take(tmp_path, tar_of(dict(originals), "gz")).description.known == "mnist"
    assert take(tmp_path, zip_of(PAIRS)).description.known is None
    training = {name: data for name, data in originals.items() if name.startswith("train")}
    assert take(tmp_path, zip_of(training)).description.known is None


def test_every_known_set_is_told_by_its_own_files() -> None:
    assert known.known_set(known._KNOWN["fashion_mnist"]) == "fashion_mnist"
    assert known.known_set(known._KNOWN["cifar100"]) == "cifar100"
    assert known.known_set([]) is None
    assert all(len(digest) == 64 for files in known._KNOWN.values() for digest in files)


@pytest.mark.parametrize(
    ("members", "code", "words"),
    [
        ({"a-images-idx3-ubyte": idx_of(TRAIN)}, "labels", "image file without its labels: upload both in one zip"),
        ({"a-labels-idx1-ubyte": idx_of(np.array([1]))}, "labels", "no idx file of images"),
        (
            {"a-images-idx3": idx_of(TRAIN), "b-images-idx3": idx_of(TRAIN), "a-labels-idx1": idx_of(np.arange(3))},
            "labels",
            "b-images-idx3 is an image file without its labels",
        ),
        (
            {
                "a-images-idx3": idx_of(TRAIN),
                "b-labels-idx1": idx_of(TRAIN[0, 0]),
                "a-labels-idx1": idx_of(np.arange(3)),
            },
            "labels",
            "b-labels-idx1 is a label file without its images",
        ),
        ({**PAIRS, "x/train-images-idx3-ubyte": idx_of(TRAIN)}, "labels", "several idx files have one name"),
        ({"a-images-idx3": idx_of(TRAIN), "b-labels-idx1": idx_of(np.arange(4))}, "lengths", "3 images and"),
        ({"a-images-idx3": idx_of(TRAIN)[:-1], "b-labels-idx1": idx_of(np.arange(3))}, "unreadable", "should hold 12"),
        ({"a-images-idx3": idx_of(TRAIN)[:9], "b-labels-idx1": idx_of(np.arange(3))}, "unreadable", "in its header"),
        ({"a-images-idx3": b"\0\0\x0d\x03" + bytes(12)}, "wrong_format", "is no idx file of images or labels"),
        ({"a-images-idx3": idx_of(TRAIN[:0]), "b-labels-idx1": idx_of(np.arange(0))}, "empty", "is empty"),
        (
            {**PAIRS, "t10k-images-idx3-ubyte": idx_of(np.zeros((1, 3, 3)))},
            "shape",
            "the images of the idx files differ in size",
        ),
        (
            {"a-images-idx3": struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1)},
            "unreadable",
            "should hold 79,228,162,458,924,105,385,300,197,375 bytes",
        ),
        ({"a-images-idx3.gz": gzip.compress(idx_of(TRAIN))[:-5]}, "unreadable", "ends in the middle"),
    ],
)
def test_idx_files_that_do_not_fit_are_refused(
    tmp_path: Path, members: dict[str, bytes], code: str, words: str
) -> None:
    refused(tmp_path, zip_of(members), code, words)


def test_one_idx_file_alone_is_refused(tmp_path: Path) -> None:
    for data in (idx_of(TRAIN), gzip.compress(idx_of(TRAIN)), idx_of(np.arange(3))):
        for kind in ("auto", "idx"):
            refused(tmp_path, data, "labels", "alone: upload both in one zip", kind)


def test_a_bomb_inside_of_a_zip_is_counted(tmp_path: Path) -> None:
    bomb = gzip.compress(idx_of(np.zeros((3000, 100, 100), np.uint8)))
    data = zip_of({"a-images-idx3.gz": bomb, "a-labels-idx1": idx_of(np.zeros(3000))}, 0)
    refused(tmp_path, data, "bomb", "a-images-idx3.gz inflates to more than 100 times")
    refused(tmp_path, data, "too_large", "unpacked", inflation=10**6, inflated_bytes=2 * 10**7)


def records(labels: list[int], coarse: bool = False) -> bytes:
    """Each record's pixels are its first label, plus 1 for green and 2 for blue."""
    found = b""
    for label in labels:
        found += bytes([19, label] if coarse else [label])
        found += b"".join(bytes([label + colour]) * 1024 for colour in range(3))
    return found


NAMES = [f"{letter} class" for letter in "jihgfedcba"]
TEN = {
    "cifar-10-batches-bin/test_batch.bin": records([9]),
    "cifar-10-batches-bin/data_batch_2.bin": records([3]),
    "cifar-10-batches-bin/data_batch_1.bin": records([0, 9]),
    "cifar-10-batches-bin/readme.html": b"<html>",
}
META = {"cifar-10-batches-bin/batches.meta.txt": "\n".join([*NAMES, "", ""]).encode()}


def test_cifar_10_is_read_with_its_names(tmp_path: Path) -> None:
    for data in (tar_of({**TEN, **META}, "gz"), zip_of({**TEN, **META}), tar_of({**TEN, **META})):
        found = take(tmp_path, data).description
        assert (found.format, found.rows, found.grid, found.numbers) == ("cifar", 4, (3, 32, 32), "uint8")
        (label,) = found.columns
        # The file's last name comes first by the alphabet.
        assert label.type == "category"
        assert [value.value for value in label.values or ()] == ["a class", "g class", "j class"]
        assert targets(tmp_path).tolist() == [2, 0, 1, 0]
        assert rows(tmp_path)[:, [0, 1023, 1024, 2048]].tolist() == [[n, n, n + 1, n + 2] for n in (0, 9, 3, 9)]


def test_without_names_classes_are_numbered(tmp_path: Path) -> None:
    for more in ({}, {"batches.meta.txt": b"too\nfew\n"}):
        found = take(tmp_path, zip_of({**TEN, **more})).description
        assert found.columns[0].type == "integer"
        assert targets(tmp_path).tolist() == [0, 9, 3, 9]
        assert "brings no names" in found.notes[0]


def test_cifar_100_has_fine_labels(tmp_path: Path) -> None:
    names = "\n".join(f"name {number:02}" for number in range(100)).encode()
    members = {"test.bin": records([4], coarse=True), "train.bin": records([99, 4], coarse=True)}
    found = take(
        tmp_path, zip_of({**members, "fine_label_names.txt": names, "coarse_label_names.txt": b"x"})
    ).description
    assert [value.value for value in found.columns[0].values or ()] == ["name 04", "name 99"]
    assert targets(tmp_path).tolist() == [1, 0, 0]
    assert rows(tmp_path)[:, 0].tolist() == [99, 4, 4]


def test_a_bare_batch_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    assert take(tmp_path, records([1, 2]), "cifar").description.rows == 2
    take(tmp_path, records([1, 88], coarse=True), "cifar")
    assert targets(tmp_path).tolist() == [1, 88]
    refused(tmp_path, records([1, 2]), "nul" if 0 in records([1, 2]) else "line_too_long", "", line_bytes=1000)


def test_cifar_is_known_by_the_whole_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tar_of(dict(TEN), "gz")
    monkeypatch.setitem(known._KNOWN, "cifar10", {hashlib.sha256(data).hexdigest()})
    assert take(tmp_path, data).description.known == "cifar10"


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (records([1, 2])[:-1], "unreadable", "no whole number of CIFAR records"),
        (zip_of({"data_batch_1.bin": records([1])[:-1]}), "unreadable", "data_batch_1.bin is no whole number"),
        (zip_of({"data_batch_1.bin": b""}), "unreadable", "data_batch_1.bin is no whole number"),
        (zip_of({"data_batch_1.bin": records([1, 10])}), "labels", "data_batch_1.bin, record 2 has a label beyond 9"),
        (zip_of({"train.bin": records([100], coarse=True)}), "labels", "record 1 has a label beyond 99"),
        (zip_of({"readme.txt": b"x"}), "unreadable", "holds no .bin file"),
    ],
)
def test_batches_that_are_no_records_are_refused(tmp_path: Path, data: bytes, code: str, words: str) -> None:
    refused(tmp_path, data, code, words, "cifar")


def test_limits_hold_for_idx_and_cifar(tmp_path: Path) -> None:
    refused(tmp_path, zip_of(PAIRS), "too_large", "4 rows exceed", rows=3)
    refused(tmp_path, zip_of(TEN), "too_large", "4 rows exceed", rows=3)
    refused(tmp_path, records([1] * 9), "too_large", "takes 27,648 bytes", "cifar", inflated_bytes=27_647)
