"""CSV and TSV: what becomes of cells, and every text that is refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from models.sealing import sealing_order
from models.stored import Gap, Value
from tests.api.parsing.files import refused, rows, take

TABLE = """\
count,weight,there,day,when,colour,remark
1,0.5,true,1970-01-02,1970-01-01 12:00:00,red,first of all
2,,false,1970-01-11,1970-01-02 00:00:00,blue,
3,2.5,NA,,1969-12-31 00:00:00,red,"with, comma"
?,-1,true,1969-12-31,,,last
"""
WORDS = ["count", "weight", "there", "day", "when", "colour", "remark"]


def test_every_kind_of_cell_becomes_a_number(tmp_path: Path) -> None:
    parsed = take(tmp_path, TABLE, classes=2)
    found = parsed.description
    assert (found.format, found.layout, found.rows, found.numbers, found.grid) == ("csv", "table", 4, "float64", ())
    assert [column.name for column in found.columns] == WORDS
    kinds = ["integer", "number", "boolean", "date", "date", "category", "text"]
    assert [column.type for column in found.columns] == kinds
    assert [column.missing for column in found.columns] == [1, 1, 1, 1, 1, 1, 1]
    assert [column.distinct for column in found.columns] == [3, None, 2, None, None, 2, 3]
    none = np.nan
    expected = [
        [1, 0.5, 1, 1, 0.5, 1, none],
        [2, none, 0, 10, 1, 0, none],
        [3, 2.5, none, none, -1, 1, none],
        [none, -1, 1, -1, none, none, none],
    ]
    np.testing.assert_array_equal(rows(tmp_path), expected)
    assert rows(tmp_path).dtype == np.float64
    assert rows(tmp_path).flags.c_contiguous
    count, weight, _, day, *_ = found.columns
    assert (count.minimum, count.maximum, count.mean) == (1, 3, 2)
    assert [weight.minimum, weight.maximum, weight.mean] == pytest.approx([-1, 2.5, 2 / 3])
    assert [day.minimum, day.maximum, day.mean] == pytest.approx([-1, 10, 10 / 3])
    assert found.gaps is not None
    assert set(found.gaps) == {
        Gap(columns=(1, 6), rows=1),
        Gap(columns=(2, 3), rows=1),
        Gap(columns=(0, 4, 5), rows=1),
    }


def test_the_preview_shows_cells_as_they_stood(tmp_path: Path) -> None:
    preview = take(tmp_path, TABLE, classes=2).preview
    assert preview.columns == WORDS
    assert preview.rows[0] == [1, 0.5, True, "1970-01-02", "1970-01-01T12:00:00", "red", "first of all"]
    assert preview.rows[1] == [2, None, False, "1970-01-11", "1970-01-02T00:00:00", "blue", None]
    assert preview.rows[3] == [None, -1.0, True, "1969-12-31", None, None, "last"]
    assert isinstance(preview.rows[0][0], int)


def test_the_preview_is_cut_to_ten_rows_a_hundred_columns_and_a_hundred_characters(tmp_path: Path) -> None:
    header = ",".join(f"c{number}" for number in range(150))
    line = ",".join(["é" * 300, *["1"] * 149])
    preview = take(tmp_path, "\n".join([header, *[line] * 12])).preview
    assert (len(preview.columns), len(preview.rows), {len(row) for row in preview.rows}) == (100, 10, {100})
    assert preview.rows[0][0] == "é" * 100


def test_values_tell_how_long_they_stay_unsealed(tmp_path: Path) -> None:
    cells = ["b", "a", "", "b", "c", "a", "b", "b"]
    numbers = [10, 9, 10, 9, 10, 10, 10, 10]
    lines = [f"{cell},{number}" for cell, number in zip(cells, numbers, strict=True)]
    found = take(tmp_path, "\n".join(["word,number", *lines]) + "\n").description
    order = sealing_order(8).tolist()

    def expected(column: list[str], value: str) -> Value:
        places = [order.index(row) for row, cell in enumerate(column) if cell == value]
        return Value(value=value, count=len(places), last_sealed=max(places) + 1)

    word, number = found.columns
    assert word.values == tuple(expected(cells, value) for value in "abc")
    assert number.values == tuple(expected([str(cell) for cell in numbers], value) for value in ("9", "10"))


def test_integers_of_many_values_are_not_listed(tmp_path: Path) -> None:
    for many, listed in ((100, True), (101, False)):
        column = take(tmp_path, "n\n" + "\n".join(map(str, range(many)))).description.columns[0]
        assert (column.distinct, column.values is not None) == (many, listed)
    wide = take(tmp_path, "n\n-9223372036854775808\n9223372036854775807\n0\n").description
    assert [value.value for value in wide.columns[0].values or ()] == [
        "-9223372036854775808",
        "0",
        "9223372036854775807",
    ]
    assert "beyond 2^53" in wide.notes[0]


@pytest.mark.parametrize(
    ("distinct", "repeats", "classes", "expected"),
    [
        (10, 2, 10, "category"),
        (11, 2, 10, "text"),
        (10, 1, 1000, "category"),
        (11, 1, 1000, "text"),
        (30, 1, 99, "text"),
    ],
)
def test_text_of_few_values_is_a_category(
    tmp_path: Path, distinct: int, repeats: int, classes: int, expected: str
) -> None:
    words = [f"word{number}" for number in range(distinct)] * repeats
    column = take(tmp_path, "\n".join(["words", *words]), classes=classes).description.columns[0]
    assert (column.type, column.distinct) == (expected, distinct)


def test_text_that_is_too_long_for_the_name_of_a_class_is_text(tmp_path: Path) -> None:
    assert take(tmp_path, f"a\n{'x' * 201}\ny\n").description.columns[0].type == "text"


def test_a_column_without_cells_is_one_of_missing_numbers(tmp_path: Path) -> None:
    tokens = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]
    found = take(tmp_path, "a,b\n" + "".join(f"{token},1\n" for token in tokens)).description
    assert (found.columns[0].type, found.columns[0].missing) == ("number", 9)
    assert found.columns[0].mean is None
    assert found.gaps == (Gap(columns=(0,), rows=9),)


def test_too_many_patterns_of_gaps_are_not_told(tmp_path: Path) -> None:
    def table(patterns: int) -> str:
        cells = ["".join("," if number >> bit & 1 else "1," for bit in range(11)) + "1" for number in range(patterns)]
        return "\n".join([",".join(f"c{place}" for place in range(12)), *cells]) + "\n"

    found = take(tmp_path, table(1001)).description.gaps
    assert found is not None
    assert len(found) == 1000
    assert Gap(columns=(0, 1, 9), rows=1) in found  # 1 + 2 + 512
    assert take(tmp_path, table(1002)).description.gaps is None


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_delimiter_and_line_ends_are_found(tmp_path: Path, delimiter: str, ending: str) -> None:
    text = ending.join([delimiter.join(('"a,;"', "b", "c")), delimiter.join("123"), ""])
    found = take(tmp_path, text).description
    assert found.format == ("tsv" if delimiter == "\t" else "csv")
    assert [column.name for column in found.columns] == ["a,;", "b", "c"]
    assert rows(tmp_path).tolist() == [[1, 2, 3]]


def test_tabs_are_taken_where_they_are_asked_for(tmp_path: Path) -> None:
    found = take(tmp_path, "a,b,c\td\n1,2\t3\n", "tsv").description
    assert [column.name for column in found.columns] == ["a,b,c", "d"]


def test_a_file_without_header_gets_one(tmp_path: Path) -> None:
    found = take(tmp_path, "1;-2.5;1e3\n4;;6\n").description
    assert [column.name for column in found.columns] == ["column_1", "column_2", "column_3"]
    assert found.notes == ("the file has no header: columns are named column_1 to column_3",)
    assert rows(tmp_path)[0].tolist() == [1, -2.5, 1000]
    assert take(tmp_path, "1\n2\n").description.notes == ("the file has no header: the column is named column_1",)


def test_one_column_keeps_its_empty_cells(tmp_path: Path) -> None:
    take(tmp_path, "a\n1\n\n3\n")
    np.testing.assert_array_equal(rows(tmp_path), [[1], [np.nan], [3]])


def test_quoted_cells_may_hold_anything(tmp_path: Path) -> None:
    text = 'a,b\n"x ""y""\nz",1\n"' + "\n" * 50 + '",2\n'
    preview = take(tmp_path, text).preview
    assert preview.rows == [['x "y"\nz', 1], ["\n" * 50, 2]]


def test_gzipped_text_is_read_member_by_member(tmp_path: Path) -> None:
    data = gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n") + b"\0" * 512
    assert take(tmp_path, data).description.format == "csv"
    assert rows(tmp_path).tolist() == [[1, 2], [3, 4]]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    found = take(tmp_path, "\ufeffgröße,b\n1,2\n").description
    assert found.columns[0].name == "größe"


def test_signed_numbers_in_words_are_no_formulas(tmp_path: Path) -> None:
    cells = ["-5%", "+1,234.5", "-.5e-3 €", "-", "+", "=", "-inf", "+49 170 1234", "word"]
    take(tmp_path, "\n".join(["a;b", *(f"{cell};1" for cell in cells)]))


@pytest.mark.parametrize("cell", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "-x", "=cmd\n|x", "=\n1"])
def test_a_formula_is_refused_with_its_place(tmp_path: Path, cell: str) -> None:
    for others in (["x"], [f"word{number}" for number in range(40)]):
        lines = [f"{number};{word}" for number, word in enumerate([*others, f'"{cell}"', "y"])]
        words = f"column b, row {len(others) + 1} begins like a formula, which spreadsheet programs would run"
        refused(tmp_path, "\n".join(["a;b", *lines]), "formula", words)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "empty", "empty"),
        (b"\n\n", "empty", "first line is empty"),
        (b"a,b", "empty", "no rows"),
        (b"a,b\n", "empty", "no rows"),
        (b"a,b,a\n1,2,3\n", "column_names", "two columns are called a"),
        (b"a, a\n1,2\n", "column_names", "two columns are called a"),
        (b"a,,c\n1,2,3\n", "column_names", "column 2 has no name"),
        (b"a," + b"x" * 201 + b"\n1,2\n", "column_names", "column 2 has more than 200"),
        (b"a,b\n1,2\n3\n4,5\n", "ragged", "row 2 has 1 cells where 2 are expected"),
        (b"a,b\n" + b"1,2\n" * 9 + b"1,2,3\n", "ragged", "row 10 has 3 cells where 2 are expected"),
        (b"1,2\n1,2,3\n", "ragged", "row 2 has 3 cells"),
        (b"a,b\n1,x\0y\n", "nul", "line 2, byte 4 is a NUL"),
        (b"a,b\n1,x\n\xe9,2\n", "not_utf8", "line 3, byte 1 is not UTF-8: save"),
        (b"a,b\n1,\xc3\xa9\n2,\xc3", "not_utf8", "line 3, byte 3"),
        ("a,b\n1,2\n".encode("utf-16"), "not_utf8", "UTF-16: save it as UTF-8"),
        (b"a,b\r1,2\r", "unreadable", "old Macs"),
        (b'"a\nb",c\n1,2\n', "unreadable", "line 1 opens a quote"),
        (b'a,b\n1,"x\n2,3\n4,5\n', "unreadable", "never closed"),
        (b"a,b\n1,2\n2,inf\n", "not_finite", "column b, row 2 is infinite"),
        (b"a,b\n1,1e999\n", "not_finite", "column b, row 1"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "unreadable", "ends in the middle"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-1], "unreadable", "ends in the middle"),
        (b"\x1f\x8b" + b"?" * 50, "unreadable", "damaged gzip"),
    ],
)
def test_broken_text_is_refused(tmp_path: Path, data: bytes, code: str, words: str) -> None:
    refused(tmp_path, data, code, words)


def test_limits_hold_for_text(tmp_path: Path) -> None:
    refused(tmp_path, "a,b\n1,2\n3,4\n", "too_large", "2 rows exceed the limit of 1", rows=1)
    wide = ",".join(f"c{number}" for number in range(10**5)) + "\n"
    refused(tmp_path, wide, "too_large", "100,000 columns exceed the limit of 10,000")
    refused(tmp_path, "a\n1\n" + "x" * 1001 + "\ny\n", "line_too_long", "line 3 has more than 1,000", line_bytes=1000)
    refused(tmp_path, "a\n" + "x" * 5_000_000, "line_too_long", "line 2 has more than 1,048,576 bytes")
    take(tmp_path, "a\n" + "x" * 1000 + "\ny\n", line_bytes=1000)
    categories = "\n".join(",".join(f"w{row % 500}" for _ in range(500)) for row in range(1000))
    names = ",".join(f"c{number}" for number in range(500))
    refused(tmp_path, f"{names}\n{categories}\n", "too_large", "200,000 categories together", line_bytes=10**5)


def test_lines_are_measured_across_pieces_of_the_file(tmp_path: Path) -> None:
    megabyte = 1024**2
    text = "a\n" + ("1" * 15 + "\n") * (megabyte // 16) + "é" * 700_000 + "\n" + "ok\n"
    refused(tmp_path, text, "line_too_long", "line 65,538")
    take(tmp_path, text, line_bytes=2 * megabyte)


def test_gzip_is_counted_while_it_inflates(tmp_path: Path) -> None:
    zeros = b"a\n" + b"0\n" * 8_000_000
    refused(tmp_path, gzip.compress(zeros), "bomb", "inflates to more than 100 times")
    refused(tmp_path, gzip.compress(zeros), "too_large", "unpacked", inflated_bytes=2**20, inflation=10**6)
    take(tmp_path, gzip.compress(zeros[:9_000_000]), inflation=100)


def test_a_table_that_is_too_large_as_numbers_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "a,b\n" + "1,2\n" * 1000, "too_large", "16,000 bytes of at most 15,999", inflated_bytes=15_999)


def _long(last: str, rows: int = 700_000) -> str:
    """More rows than are looked at for their types, the last of them by itself."""
    return "a,b,c,label\n" + "1,2,x,0\n" * rows + last


@pytest.mark.parametrize(
    ("last", "types", "cells"),
    [
        ("3,4,y,1\n", ["integer", "integer", "category", "integer"], [3, 4, 1, 1]),
        # What the first rows are is no guide to all.
        ("3.5,4,y,1\n", ["number", "integer", "category", "integer"], [3.5, 4, 1, 1]),
        ("three,4,y,1\n", ["category", "integer", "category", "integer"], [1, 4, 1, 1]),
        ("3,,y,1\n", ["integer", "integer", "category", "integer"], [3, np.nan, 1, 1]),
    ],
)
def test_a_long_file_is_read_in_groups_of_columns_as_if_at_once(
    tmp_path: Path, last: str, types: list[str], cells: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.parsing.readers.csv_files._LEAST_GROUP_BYTES", 1)
    description = take(tmp_path, _long(last)).description
    assert [column.type for column in description.columns] == types
    assert description.rows == 700_001
    np.testing.assert_array_equal(rows(tmp_path)[-1], cells)
    assert description.columns[3].mean == pytest.approx(1 / 700_001)


def test_a_ragged_row_far_down_is_named_all_the_same(tmp_path: Path) -> None:
    refused(tmp_path, _long("1,2,3\n"), "ragged", "row 700,001 has 3 cells where 4")
