"""Parquet: the types of its columns, and files that are damaged or too large."""

import datetime
import decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.api.parsing.files import parquet_of, refused, rows, take

DAY = datetime.date(1970, 1, 3)
NOON = datetime.datetime(1970, 1, 1, 12)
EAST = datetime.timezone(datetime.timedelta(hours=12))


def test_types_become_numbers(tmp_path: Path) -> None:
    found = take(
        tmp_path,
        parquet_of(
            whole=pa.array([1, None, 3], pa.uint64()),
            tiny=pa.array([-1, 0, 1], pa.int8()),
            half=pa.array(np.array([0.5, np.nan, 2], np.float16)),
            price=pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("2")], pa.decimal128(9, 2)),
            truth=[True, None, False],
            day=[DAY, None, DAY],
            noon=pa.array([NOON, None, NOON], pa.timestamp("us")),
            east=pa.array([NOON.replace(tzinfo=EAST)] * 3, pa.timestamp("ns", "+12:00")),
            word=pa.array(["b", None, "a"]).dictionary_encode(),
            moment=pa.array([90_000_000, None, 0], pa.date64()),
            view=pa.array(["b", "a", None], pa.string_view()),
            large=pa.array(["b", "b", "a"], pa.large_string()),
            none=pa.nulls(3),
        ),
    ).description
    kinds = [column.type for column in found.columns]
    assert kinds == [
        *["integer"] * 2,
        *["number"] * 2,
        "boolean",
        *["date"] * 3,
        "category",
        "date",
        *["category"] * 2,
        "number",
    ]
    assert found.format == "parquet"
    nan = np.nan
    np.testing.assert_array_equal(
        rows(tmp_path),
        [
            [1, -1, 0.5, 1.25, 1, 2, 0.5, 0, 1, 1, 1, 1, nan],
            [nan, 0, nan, nan, nan, nan, nan, 0, nan, nan, 0, 1, nan],
            [3, 1, 2, 2, 0, 2, 0.5, 0, 0, 0, nan, 0, nan],
        ],
    )


def test_dates_at_the_ends_of_time_are_numbers_too(tmp_path: Path) -> None:
    first = -(2**63) + 1
    ends = [first, 2**63 - 1, None]
    units = {unit: pa.array(ends, pa.int64()).cast(pa.timestamp(unit)) for unit in ("ms", "us", "ns")}
    take(tmp_path, parquet_of(day=pa.array([-(2**31), 2**31 - 1, None], pa.int32()).cast(pa.date32()), **units))
    assert rows(tmp_path)[0].tolist() == [-(2**31), *(first / (86_400 * 1000**power) for power in (1, 2, 3))]


def test_the_mean_of_huge_numbers_is_a_number(tmp_path: Path) -> None:
    column = take(tmp_path, parquet_of(a=[1e308, 1e308, 1.1e308])).description.columns[0]
    assert column.mean == pytest.approx(1.0333e308, rel=1e-4)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1], [2]]),
        pa.array([{"a": 1}, {"a": 2}]),
        pa.array([b"a", b"b"]),
        pa.array([datetime.time(1), datetime.time(2)]),
        pa.array([1, 2], pa.duration("s")),
    ],
)
def test_columns_of_other_types_are_refused(tmp_path: Path, column: pa.Array) -> None:
    refused(tmp_path, parquet_of(a=[1, 2], odd=column), "column_type", "column odd is of type")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    whole = parquet_of(a=list(range(1000)), b=[f"word{number % 7}" for number in range(1000)])
    for length in (6, 100, len(whole) // 2, len(whole) - 1):
        refused(tmp_path, whole[:length], "unreadable", "damaged or incomplete")
    broken = bytearray(whole)
    broken[40:400] = bytes(360)
    refused(tmp_path, bytes(broken), "unreadable", "damaged or incomplete")


def test_limits_hold_before_anything_is_read(tmp_path: Path) -> None:
    data = parquet_of(a=[1] * 1000, b=[2] * 1000)
    refused(tmp_path, data, "too_large", "1,000 rows exceed", rows=999)
    refused(tmp_path, data, "too_large", "2 columns exceed", columns=1)
    refused(tmp_path, data, "too_large", "unpacked", inflated_bytes=100)
    refused(tmp_path, parquet_of(a=pa.array([], pa.int64())), "empty", "no rows")


def test_a_table_takes_as_much_storage_as_the_quota_has_left_and_no_more(tmp_path: Path) -> None:
    data = parquet_of(a=[1] * 1000, b=[2] * 1000)
    size = take(tmp_path, data, stored_bytes=128 + 16_000).description.sizes["rows.npy"]
    assert size == 128 + 16_000
    refused(tmp_path, data, "over_quota", "16,128 bytes in storage, and 16,127 are left", stored_bytes=size - 1)


def test_names_are_checked(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    refused(tmp_path, sink.getvalue().to_pybytes(), "column_names", "two columns are called a")
    refused(tmp_path, parquet_of(**{" ": [1]}), "column_names", "column 1 has no name")


def test_formulas_and_infinite_numbers_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, parquet_of(a=["x", "=1+1"]), "formula", "column a, row 2")
    refused(tmp_path, parquet_of(a=["x", "a\0b"]), "nul", "column a holds a NUL")
    refused(tmp_path, parquet_of(**{"a\0b": [1]}), "nul", "the name of column 1 holds a NUL")
    refused(tmp_path, parquet_of(a=[1.0, -np.inf]), "not_finite", "column a, row 2")
