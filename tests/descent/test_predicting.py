import csv
import gzip
import io
import json
from datetime import date
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from descent import Client, DescentError, Refused
from descent.cli import app
from descent.prediction_rows import MOST_BYTES, MOST_ROWS
from tests.descent.conftest import Answer, Request, Service, make_job, make_page, make_run, problem

PATH = "/v1/runs/run_1/predictions"


def rows_of(request: Request) -> list[Any]:
    """As the service reads them."""
    if isinstance(request.body, bytes):
        assert len(request.body) <= MOST_BYTES
        return list(csv.DictReader(io.StringIO(request.body.decode(), newline=""), strict=True))
    rows: list[Any] = request.body["rows"]
    assert len(json.dumps(request.body, separators=(",", ":"))) <= MOST_BYTES
    return rows


def echo(request: Request) -> Answer:
    """Predict each row's first cell."""
    said = [float(next(iter(row.values())) if isinstance(row, dict) else row[0]) for row in rows_of(request)]
    answer = {"task": "regression", "target": "y", "classes": [], "predictions": said, "probabilities": None}
    return Answer(body=answer)


def test_few_rows_are_one_request_in_json(service: Service, client: Client) -> None:
    service.on("POST", PATH, echo)
    rows: list[dict[str, Any]] = [{"a": 1.5, "b": nan, "c": "é"}, {"a": np.float32(2.5), "b": date(2026, 1, 31)}]
    assert client.predict("run_1", rows).predictions == [1.5, 2.5]
    (request,) = service.requests
    assert request.body == {"rows": [{"a": 1.5, "b": None, "c": "é"}, {"a": 2.5, "b": "2026-01-31"}]}
    assert request.headers["content-type"] == "application/json"


def test_many_rows_are_cut_where_a_request_is_full(service: Service, client: Client) -> None:
    service.on("POST", PATH, echo)
    tiny: list[list[int]] = [[place] for place in range(MOST_ROWS + 5)]
    wide = [[place, *[0.123456789] * 3_000] for place in range(20)]
    assert client.predict("run_1", tiny).predictions == list(range(MOST_ROWS + 5))
    assert [len(rows_of(request)) for request in service.requests] == [MOST_ROWS, 5]
    service.requests.clear()
    assert client.predict("run_1", wide).predictions == list(range(20))
    assert [len(rows_of(request)) for request in service.requests] == [7, 7, 6]


def test_a_csv_file_is_cut_by_rows_under_its_header_again_and_again(
    service: Service, client: Client, tmp_path: Path
) -> None:
    service.on("POST", PATH, echo)
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow([" place ", "words"])
        writer.writerows([place, f'one "line",\nand another {place} ' + "é" * 50] for place in range(4_000))
        file.write("\r\n")
    assert client.predict("run_1", path).predictions == list(range(4_000))
    assert len(service.requests) > 1
    assert {request.headers["content-type"] for request in service.requests} == {"text/csv"}
    rows = [row for request in service.requests for row in rows_of(request)]
    assert rows[3999] == {"place": "3999", "words": 'one "line",\nand another 3999 ' + "é" * 50}


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_files_are_taken_as_data_sets_are(service: Service, client: Client, tmp_path: Path, delimiter: str) -> None:
    service.on("POST", PATH, echo)
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(f'"a,x"{delimiter}b\n1{delimiter}"2,5"\n'.encode()))
    assert client.predict("run_1", str(path)).predictions == [1]
    assert rows_of(service.requests[0]) == [{"a,x": "1", "b": "2,5"}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"a,b\n", "no rows to predict"),
        (b"a,b\n1,2\n3\n", "line 3: the row has 1 cells and the header 2"),
        (b'a\n"1', "line 2"),
        (b"a\n\xff\n", "no text in UTF-8"),
        (b"\x1f\x8bnothing", "cannot be read"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_without_proper_rows_is_refused_before_it_is_sent(
    service: Service, client: Client, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "rows.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DescentError, match=words):
        client.predict("run_1", path)
    assert service.requests == []


def test_rows_that_json_cannot_hold_are_told_by_their_place(client: Client) -> None:
    with pytest.raises(DescentError, match="/rows/1: this cannot be sent"):
        client.predict("run_1", [[1.0], [float("inf")]])
    with pytest.raises(DescentError, match="no rows to predict"):
        client.predict("run_1", [])


def test_a_refused_row_is_counted_from_the_first_of_all(service: Service, client: Client) -> None:
    def refuse(request: Request) -> Answer:
        if len(service.requests) == 1:
            return echo(request)
        error = {"pointer": "/rows/3/age", "code": "does_not_fit_data", "detail": "this must be a number"}
        return problem(422, "invalid", "this must be a number", errors=[error])

    service.on("POST", PATH, refuse)
    with pytest.raises(Refused, match=f"/rows/{MOST_ROWS + 3}/age: this must be a number"):
        client.predict("run_1", [[0]] * (MOST_ROWS + 10))


def test_a_network_that_takes_fewer_rows_gets_them_in_smaller_requests(
    service: Service, client: Client, tmp_path: Path
) -> None:
    def fewer(request: Request) -> Answer:
        if len(rows_of(request)) > 4_000:
            return problem(413, "too_many_rows", "this network takes at most 4,000 rows per request", max_rows=4_000)
        return echo(request)

    service.on("POST", PATH, fewer)
    rows: list[list[int]] = [[place] for place in range(MOST_ROWS + 5_000)]
    assert client.predict("run_1", rows).predictions == list(range(len(rows)))
    assert [len(rows_of(request)) for request in service.requests] == [10_000, 4_000, 4_000, 2_000, 4_000, 1_000]
    service.requests.clear()
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["place", *map(str, range(6_000))]))
    assert client.predict("run_1", path).predictions == list(range(6_000))
    assert [len(rows_of(request)) for request in service.requests] == [6_000, 4_000, 2_000]


def test_a_network_that_takes_no_row_is_reported_with_what_the_service_says(service: Service, client: Client) -> None:
    service.on("POST", PATH, problem(413, "too_many_rows", "one row takes 9 operations", max_rows=0))
    with pytest.raises(Refused, match="one row takes 9 operations"):
        client.predict("run_1", [[0]] * 10)
    assert len(service.requests) == 1


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def descent(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def asked(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file of rows, and a run that says yes to them all."""
    monkeypatch.setenv("DESCENT_URL", service.url)
    monkeypatch.setenv("COLUMNS", "100")
    answer = {"task": "classification", "target": "alive", "classes": ["no", "yes"]}
    said = {"predictions": ["yes"] * 2, "probabilities": [[0.25, 0.75]] * 2}
    service.on("POST", PATH, Answer(body=answer | said))
    service.on("GET", "/v1/runs/run_1", Answer(body=make_run()))
    path = tmp_path / "rows.csv"
    path.write_text("age\n1\n2\n")
    return path


def test_predictions_are_a_table_or_one_json_document(asked: Path) -> None:
    table = descent("predict", "run_1", str(asked))
    assert table.exit_code == 0
    assert [line.split() for line in table.stdout.splitlines()] == [
        ["row", "alive", "no", "yes"],
        ["1", "yes", "0.250", "0.750"],
        ["2", "yes", "0.250", "0.750"],
    ]
    assert json.loads(descent("predict", "run_1", str(asked), "--json").stdout)["predictions"] == ["yes", "yes"]


def test_a_job_stands_for_its_only_run_that_has_succeeded(asked: Path, service: Service) -> None:
    service.on("GET", "/v1/jobs", Answer(body=make_page(make_job(name="ships"))))
    succeeded, failed = make_run(status="succeeded"), make_run("run_2", status="failed")
    service.on(
        "GET",
        "/v1/jobs/job_1/runs",
        Answer(body=make_page(succeeded, failed)),
        Answer(body=make_page(failed)),
        Answer(body=make_page(succeeded, make_run("run_3", status="succeeded", seed=1))),
    )
    assert "yes" in descent("predict", "ships", str(asked)).stdout
    assert "No run of ships has succeeded yet" in descent("predict", "ships", str(asked)).stderr
    several = descent("predict", "ships", str(asked))
    assert several.exit_code == 1
    assert "run_3  seed 1" in several.stderr
