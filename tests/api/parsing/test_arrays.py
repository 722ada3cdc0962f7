"""NumPy's files: tables, images and series, and what could run or lie in them."""

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.stored import Gap
from tests.api.parsing.files import Array, npy_of, npz_of, refused, rows, take, targets, zip_of

LABELS = np.array([2, 0, 2])


def header_of(text: str, version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin-1")


def shaped(descr: str, shape: str, data: bytes = b"") -> bytes:
    return header_of(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n") + data


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f4", "<f2", ">i2", "|i1", "<u8"])
def test_a_matrix_is_a_table(tmp_path: Path, kind: str, order: Any) -> None:
    matrix = np.array([[1, 2, 3], [4, 5, 60]], kind, order=order)
    found = take(tmp_path, npy_of(matrix)).description
    assert (found.format, found.layout, found.rows) == ("npy", "table", 2)
    assert [column.name for column in found.columns] == ["column_1", "column_2", "column_3"]
    assert {column.type for column in found.columns} == {"number" if "f" in kind else "integer"}
    assert rows(tmp_path).tolist() == [[1, 2, 3], [4, 5, 60]]
    assert found.notes == ("columns are named column_1 to column_3",)


def test_every_version_of_the_header_is_read(tmp_path: Path) -> None:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }\n"
    for version in (1, 2, 3):
        take(tmp_path, header_of(text, version) + struct.pack("<f", 1.5))
        assert rows(tmp_path).tolist() == [[1.5]]


def test_missing_numbers_and_booleans_of_a_matrix(tmp_path: Path) -> None:
    found = take(tmp_path, npy_of(np.array([[1.0, np.nan], [np.nan, np.nan]]))).description
    assert [column.missing for column in found.columns] == [1, 2]
    assert set(found.gaps or ()) == {Gap(columns=(1,), rows=1), Gap(columns=(0, 1), rows=1)}
    column = take(tmp_path, npy_of(np.array([[True], [False], [True]]))).description.columns[0]
    assert (column.type, [value.value for value in column.values or ()]) == ("boolean", ["false", "true"])
    assert rows(tmp_path).ravel().tolist() == [1, 0, 1]


def test_a_matrix_is_written_in_blocks(tmp_path: Path) -> None:
    matrix = np.arange(3_000_000, dtype=np.float32).reshape(-1, 3)
    take(tmp_path, npy_of(matrix))
    np.testing.assert_array_equal(rows(tmp_path), matrix)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (npy_of(np.array([["a", 1]], object), pickled=True), "pickled", "pickled Python objects"),
        (shaped("'|O'", "(1, 1)", b"cos\nsystem\n."), "pickled", "pickled Python objects"),
        (npy_of(np.zeros((2, 2), [("a", "f8")])), "array_type", "booleans, integers or floats"),
        (npy_of(np.zeros((2, 2), complex)), "array_type", "booleans, integers or floats"),
        (npy_of(np.zeros((2, 2), "<M8[s]")), "array_type", "booleans, integers or floats"),
        (npy_of(np.zeros((2, 2), np.longdouble)), "array_type", "booleans, integers or floats"),
        (npy_of(np.array([["a"]])), "array_type", "booleans, integers or floats"),
        (npy_of(np.zeros((2, 2)))[:-1], "unreadable", "should hold 32 bytes of numbers and holds 31"),
        (npy_of(np.zeros((2, 2))) + b"x", "unreadable", "holds 33"),
        (shaped("'<f8'", "(2147483648, 2)"), "unreadable", "should hold 34,359,738,368 bytes"),
        (shaped("'<f8'", f"({'9' * 30}, 2)"), "unreadable", "should hold"),
        (shaped("'<f8'", "(__import__('os').getpid(), 2)"), "unreadable", "no readable NumPy header"),
        (shaped("'<f8'", "(-1, 2)"), "unreadable", "no readable NumPy header"),
        (shaped("'<f8'", "(0, 2)"), "empty", "empty"),
        (shaped("'<f8'", "(2, 0)"), "empty", "empty"),
        (header_of("{'descr': '<f8'}"), "unreadable", "no readable NumPy header"),
        (header_of(" " * 10_001, 2), "unreadable", "no readable NumPy header"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "unreadable", "no readable NumPy header"),
        (b"\x93NUMPY\x09\x00\x01\x00{", "unreadable", "no readable NumPy header"),
        (npy_of(np.zeros(3)), "shape", "save a matrix with a row for each example"),
        (npy_of(np.zeros((3, 2, 2))), "shape", "put it into an npz with its targets"),
        (npy_of(np.array(3.0)), "shape", "0 axes"),
        (npy_of(np.array([[1.0, 2], [3, np.inf]])), "not_finite", "column column_2, row 2"),
    ],
)
def test_an_array_that_lies_or_is_no_matrix_is_refused(tmp_path: Path, data: bytes, code: str, words: str) -> None:
    refused(tmp_path, data, code, words)


def test_limits_hold_for_a_matrix(tmp_path: Path) -> None:
    refused(tmp_path, npy_of(np.zeros((3, 2))), "too_large", "3 rows exceed", rows=2)
    refused(tmp_path, npy_of(np.zeros((3, 2))), "too_large", "2 columns exceed", columns=1)
    refused(tmp_path, npy_of(np.zeros((99, 9), np.int8)), "too_large", "takes 7,128 bytes", inflated_bytes=7000)


@pytest.mark.parametrize(("inputs", "outputs"), [("X", "y"), ("features", "targets"), ("Images", "Labels")])
def test_inputs_and_targets_become_a_table(tmp_path: Path, inputs: str, outputs: str) -> None:
    found = take(tmp_path, npz_of(**{inputs: np.array([[1, 2], [3, 4], [5, 6]]), outputs: LABELS})).description
    assert (found.format, found.layout) == ("npz", "table")
    assert [(column.name, column.type) for column in found.columns] == [
        ("x_1", "integer"),
        ("x_2", "integer"),
        ("y", "integer"),
    ]
    assert rows(tmp_path).tolist() == [[1, 2, 2], [3, 4, 0], [5, 6, 2]]


@pytest.mark.parametrize(
    ("labels", "kind", "expected"),
    [
        (np.array([[0.5], [1], [2]]), "number", [0.5, 1, 2]),
        (np.array([True, False, True]), "integer", [1, 0, 1]),
        (np.array(["b", "aé", "b"]), "category", [1, 0, 1]),
        (np.array(["b", "aé", "b"], ">U9"), "category", [1, 0, 1]),
        (np.array([1, np.nan, 3], np.float16), "number", [1, np.nan, 3]),
    ],
)
def test_targets_may_be_numbers_or_words(tmp_path: Path, labels: Array, kind: str, expected: list[float]) -> None:
    found = take(tmp_path, npz_of(x=np.zeros((3, 1)), y=labels)).description
    assert found.columns[1].type == kind
    np.testing.assert_array_equal(rows(tmp_path)[:, 1], expected)


def test_training_comes_before_testing(tmp_path: Path) -> None:
    parts = {"x_test": [[9]], "y_test": [1], "X_train": [[1], [2]], "Y_train": [0, 1]}
    found = take(tmp_path, npz_of(**{name: np.array(part) for name, part in parts.items()})).description
    assert rows(tmp_path).tolist() == [[1, 0], [2, 1], [9, 1]]
    assert found.notes == ("the rows for training come first, then those for testing",)


IMAGES = np.arange(36, dtype=np.uint8).reshape(3, 2, 2, 3)


@pytest.mark.parametrize(
    ("inputs", "grid", "numbers", "first"),
    [
        (np.arange(12, dtype=np.uint8).reshape(3, 2, 2), (1, 2, 2), "uint8", [0, 1, 2, 3]),
        (IMAGES, (3, 2, 2), "uint8", [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]),
        (IMAGES.transpose(0, 3, 1, 2), (3, 2, 2), "uint8", [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]),
        (IMAGES[..., :1], (1, 2, 2), "uint8", [0, 3, 6, 9]),
        (IMAGES / 2, (3, 2, 2), "float32", [0, 1.5, 3, 4.5, 0.5, 2, 3.5, 5, 1, 2.5, 4, 5.5]),
        (np.arange(12.0).reshape(3, 2, 2), (2, 2), "float32", [0, 1, 2, 3]),
    ],
)
def test_images_and_series_become_a_grid(
    tmp_path: Path, inputs: Array, grid: tuple[int, ...], numbers: str, first: list[float]
) -> None:
    parsed = take(tmp_path, npz_of(x=inputs, y=LABELS))
    found = parsed.description
    assert (found.layout, found.rows, found.grid, found.numbers) == ("grid", 3, grid, numbers)
    assert rows(tmp_path).dtype == np.dtype(numbers)
    assert rows(tmp_path)[0].tolist() == first
    assert targets(tmp_path).dtype == np.dtype("float64")
    assert targets(tmp_path).tolist() == [2, 0, 2]
    (label,) = found.columns
    assert (label.name, label.type, label.distinct, label.missing) == ("label", "integer", 2, 0)
    assert [(value.value, value.count) for value in label.values or ()] == [("0", 1), ("2", 2)]
    assert parsed.preview.rows == [[2], [0], [2]]
    assert len(parsed.preview.thumbnails) == (3 if numbers == "uint8" else 0)


def test_targets_of_a_grid_may_be_words_or_measures(tmp_path: Path) -> None:
    parsed = take(tmp_path, npz_of(x=IMAGES, y=np.array(["dog", "cat", "dog"])))
    (label,) = parsed.description.columns
    assert (label.type, [value.value for value in label.values or ()]) == ("category", ["cat", "dog"])
    assert targets(tmp_path).tolist() == [1, 0, 1]
    assert parsed.preview.rows == [["dog"], ["cat"], ["dog"]]
    (label,) = take(tmp_path, npz_of(x=IMAGES, y=np.array([0.5, 1, 3]))).description.columns
    assert (label.type, label.minimum, label.maximum, label.mean) == ("number", 0.5, 3, 1.5)
    assert targets(tmp_path).tolist() == [0.5, 1, 3]


@pytest.mark.parametrize(
    ("arrays", "code", "words"),
    [
        ({"y": LABELS}, "members", "holds no inputs"),
        ({"x": np.zeros((3, 1))}, "members", "holds no targets"),
        ({"x": np.zeros((3, 1)), "data": np.zeros((3, 1)), "y": LABELS}, "members", "could both be the inputs"),
        ({"x": np.zeros((3, 1)), "X": np.zeros((3, 1)), "y": LABELS}, "members", "two arrays are called x"),
        ({"x": np.zeros((4, 1)), "y": LABELS}, "lengths", "4 inputs and 3 targets"),
        ({"x": np.zeros((3, 1)), "y": np.eye(3)}, "shape", "one number or word for each"),
        ({"x": np.zeros(3), "y": LABELS}, "shape", "1 axes"),
        ({"x": np.zeros((3, 1, 1, 1, 1)), "y": LABELS}, "shape", "5 axes"),
        ({"x": np.zeros((3, 4, 4, 2), np.uint8), "y": LABELS}, "shape", "neither 1 nor 3 channels"),
        ({"x": np.zeros((3, 4, 4), np.int64), "y": LABELS}, "array_type", "type int64"),
        ({"x": np.full((3, 4, 4), np.nan), "y": LABELS}, "not_finite", "input 1 holds NaN"),
        ({"x": np.full((3, 4, 4), 1e300), "y": LABELS}, "not_finite", "input 1 holds NaN or infinite"),
        ({"x": IMAGES, "y": np.array(["a", "b", "x" * 201])}, "labels", "more than 200 characters"),
        ({"x": IMAGES, "y": np.array(["a", "b", "x\0y"])}, "labels", "holds NUL"),
        ({"x": IMAGES, "y": np.array([1, np.nan, 2])}, "not_finite", "target of row 2"),
        ({"x": np.zeros((3, 1)), "y": np.array(["=1+1", "a", "a"])}, "formula", "column y, row 1"),
        (
            {"x_train": np.zeros((1, 2)), "x_test": np.zeros((1, 3)), "y_train": LABELS[:1], "y_test": LABELS[:1]},
            "shape",
            "differ in shape",
        ),
        (
            {"x_train": np.eye(1), "x_test": np.eye(1), "y_train": LABELS[:1], "y_test": np.array(["a"])},
            "array_type",
            "words here and numbers there",
        ),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(
    tmp_path: Path, arrays: dict[str, Array], code: str, words: str
) -> None:
    refused(tmp_path, npz_of(**arrays), code, words)


def test_pickles_in_an_npz_are_refused(tmp_path: Path) -> None:
    pickled = npy_of(np.array([None, {}, "x"], object), pickled=True)
    refused(tmp_path, zip_of({"x.npy": npy_of(np.eye(3)), "y.npy": pickled}), "pickled", "y holds pickled")


def test_words_of_characters_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    for code in (0x110000, 0xFFFFFFFF, 0xD800):
        words = shaped("'<U1'", "(1,)", struct.pack("<I", code))
        data = zip_of({"x.npy": npy_of(np.zeros((1, 1))), "y.npy": words})
        refused(tmp_path, data, "unreadable", "characters that do not exist")


def test_a_directory_that_lies_about_an_array_is_refused(tmp_path: Path) -> None:
    data = bytearray(npz_of(x=np.zeros((50_000, 1)), y=np.zeros(50_000)))
    with zipfile.ZipFile(tmp_path / "upload", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_of(np.zeros((50_000, 1))))
    entry = data.find(b"PK\1\2")
    data[entry + 24 : entry + 28] = struct.pack("<I", 1000)
    refused(tmp_path, bytes(data), "unreadable", "x.npy is damaged in the zip")


def test_an_npz_bomb_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, npz_of(x=np.zeros((10**6, 2)), y=np.zeros(10**6)), "bomb", "inflates to more than 100 times")
