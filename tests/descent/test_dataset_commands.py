import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from descent import dataset_tables, suggestion
from descent.cli import app
from descent.sending import SendingDisplay
from models.answers import Dataset, DatasetPreview
from models.stored import Column
from tests.descent.conftest import Answer, Service, make_dataset, make_page

ROWS = [f"{place},{'' if place % 4 else place / 2},{'xyz'[place % 3]},Name {place}" for place in range(40)]


def descent(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def table(lasting_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file with holes, in sight of the API itself."""
    monkeypatch.setenv("DESCENT_URL", lasting_url)
    monkeypatch.setenv("COLUMNS", "100")
    path = tmp_path / "commands.csv"
    path.write_text("place,half,class,name\n" + "\n".join(ROWS) + "\n")
    return path


def test_a_data_set_is_uploaded_listed_shown_and_deleted(table: Path) -> None:
    uploaded = descent("datasets", "upload", str(table))
    assert uploaded.exit_code == 0, uploaded.stderr
    assert uploaded.stderr == ""
    lines = [line.split() for line in uploaded.stdout.splitlines()]
    assert lines[0][:5] == ["commands", "40", "rows,", "4", "columns;"]
    assert ["place", "integer", "0", "0", "…", "39", "40", "different"] in lines
    assert ["half", "number", "30", "0", "…", "18"] in lines
    assert ["class", "category", "0", "x", "(14),", "y", "(13),", "z", "(13)"] in lines
    assert ["predicts", "class", "(classification)"] in lines
    assert ["leaves", "out", "name:", "text", "of", "40", "different", "values"] in lines
    suggested = uploaded.stdout.splitlines()[-1]
    assert suggested.startswith("  echo '{")
    assert suggested.endswith("}' | descent submit - --watch")
    assert json.loads(suggested.split("'")[1])["dataset"]["missing"] == "impute"

    again = descent("datasets", "upload", str(table), "--name", "other")
    assert "the same data already, called commands" in again.stdout
    assert json.loads(descent("datasets", "upload", str(table), "--json").stdout)["name"] == "commands"

    listed = json.loads(descent("datasets", "list", "--json").stdout)
    (found,) = (one for one in listed if one["name"] == "commands")
    assert found["id"] in descent("datasets", "list").stdout
    for reference in ("commands", found["id"], found["id"][:20]):
        shown = descent("datasets", "show", reference).stdout
        assert found["id"] in shown
        assert "Name 9" in shown
    both = json.loads(descent("datasets", "show", "commands", "--json").stdout)
    assert both["dataset"]["columns"][1]["missing"] == 30
    assert [one["name"] for one in both["preview"]["columns"]] == ["place", "half", "class", "name"]

    assert descent("datasets", "delete", "commands").stdout == "commands is deleted.\n"
    gone = descent("datasets", "show", "commands")
    assert gone.exit_code == 1
    assert "descent datasets list" in gone.stderr


def test_a_refused_upload_is_told_with_its_reason(table: Path) -> None:
    table = table.rename(table.with_name("ragged.csv"))
    table.write_text("a,b\n1,2\n3\n")
    refused = descent("datasets", "upload", str(table))
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith("row 2 has 1 cells")
    absent = descent("datasets", "upload", "absent.csv")
    assert (absent.exit_code, absent.stderr) == (1, "absent.csv does not exist\n")
    assert descent("datasets", "upload").exit_code == 2
    assert descent("datasets", "upload", str(table), "--format", "xlsx").exit_code == 2


def test_data_on_which_nothing_can_train_are_told_with_the_reason(table: Path) -> None:
    table.write_text("name\n" + "\n".join(f"Name {place}" for place in range(30)) + "\n")
    told = descent("datasets", "upload", str(table), "--name", "names").stdout
    assert "No job can train on this as it is" in told
    assert "submit" not in told


def test_an_empty_list_says_so(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCENT_URL", service.url)
    service.on("GET", "/v1/datasets", Answer(body=make_page()))
    assert descent("datasets", "list").stdout == "No data sets.\n"


def test_a_name_with_a_slash_is_found_in_the_list(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCENT_URL", service.url)
    dataset = make_dataset("dataset_7", name="old/ships")
    service.on("GET", "/v1/datasets", Answer(body=make_page(dataset)))
    service.on("GET", "/v1/datasets/dataset_7", Answer(body=dataset))
    service.on("DELETE", "/v1/datasets/dataset_7", Answer(204, b""))
    assert json.loads(descent("datasets", "delete", "old/ships", "--json").stdout)["id"] == "dataset_7"


def test_a_spec_is_validated_with_what_it_takes_its_data_for(table: Path) -> None:
    assert descent("datasets", "upload", str(table), "--name", "validated").exit_code == 0
    spec = table.with_name("spec.json")
    spec.write_text(
        json.dumps(
            {
                "dataset": {"kind": "uploaded", "id": "validated", "missing": "impute"},
                "optimizer": "adam",
                "batch_size": "full",
            }
        ),
        encoding="utf-8",
    )
    told = descent("validate", str(spec))
    assert told.exit_code == 0
    for words in ("predicts", "leaves out", "text of 40 different values", "trains on", "24 rows"):
        assert words in told.stdout
    assert json.loads(descent("validate", str(spec), "--json").stdout)["training_rows"] == 24


def drawn(part: object, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(part)
    return console.export_text()


def test_images_are_shown_by_their_classes() -> None:
    values = [{"value": f"[b]{place}", "count": 3, "last_sealed": 1} for place in range(30)]
    target = {"name": "label", "type": "category", "missing": 0, "values": values}
    given = make_dataset(layout="grid", format="images", grid=[3, 32, 32], columns=[target], notes=["resized"])
    dataset = Dataset.model_validate(given)
    assert "colour images of 32 × 32 pixels" in drawn(dataset_tables.headline(dataset))
    told = drawn(dataset_tables.contents(dataset))
    assert "resized" in told
    assert "[b]0" in told
    assert "and 10 more classes" in told


def test_dates_are_shown_as_dates_and_wide_tables_as_far_as_they_fit() -> None:
    column = {"name": "day", "type": "date", "missing": 0, "minimum": 0.0, "maximum": 365.5}
    dataset = Dataset.model_validate(make_dataset(columns=[column] * 50))
    told = drawn(dataset_tables.contents(dataset), 60)
    assert "1970-01-01 … 1971-01-01 12:00" in told
    assert "and 10 more columns" in told
    preview = DatasetPreview(
        columns=[Column(name=name, type="text", missing=0) for name in "abcdefghij"],
        rows=[["a\nlong cell", *[None] * 9]] * 20,
        thumbnails=[],
    )
    told = drawn(dataset_tables.first_rows(preview, 20), 20)
    assert "a long cell" in told
    assert "more columns" in told
    assert max(map(len, told.splitlines())) <= 20


def test_a_spec_is_suggested_that_says_what_it_predicts() -> None:
    def column(name: str, type: str, missing: int = 0) -> dict[str, Any]:
        return {"name": name, "type": type, "missing": missing}

    def suggested(*columns: dict[str, Any], **changes: Any) -> Any:
        return suggestion.spec_for(Dataset.model_validate(make_dataset(columns=columns, **changes)))["dataset"]

    base = {"kind": "uploaded", "id": "titanic"}
    assert suggested(column("Y", "number"), column("b", "number")) == base | {"target": "Y"}
    assert suggested(column("a", "number", 1), column("b", "number"), column("c", "text")) == base | {
        "target": "b",
        "missing": "impute",
    }
    assert suggested(column("a", "number"), column("b", "number", 2)) == base | {"target": "b", "missing": "drop"}
    assert suggested(column("label", "integer"), layout="grid", grid=[1, 2, 2]) == base
    assert suggested(known="mnist") == "mnist"


def test_an_upload_is_a_bar_on_a_terminal_and_silent_elsewhere() -> None:
    for is_terminal in (True, False):
        console = Console(force_terminal=is_terminal, width=100, record=True, file=io.StringIO())
        with console.capture() as captured, SendingDisplay(console) as display:
            for sent in (0, 50, 100, 0, 100):
                display(sent, 100)
        told = captured.get()
        assert all(word in told for word in ("Sending", "Reading")) if is_terminal else told == ""
