"""The fingerprint finds changed bits, and its cases cover every component."""

import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from models.spec.component import Component
from models.spec.networks import MLP, Linear
from tests.fingerprint.__main__ import main
from tests.fingerprint.case import BASE, Case, Fields, make_case
from tests.fingerprint.cases import all_cases
from tests.fingerprint.combinations import COMPILED, SINGLE
from tests.fingerprint.coverage import COMPONENTS, uncovered
from tests.fingerprint.digests import Digests, fingerprint
from tests.fingerprint.uploads import Uploads
from worker.training.threads import threads

SPECS: dict[str, Fields] = {
    "boosting": {"evaluation": {"kind": "boosting", "rounds": 2}, "regularizers": ["dropout"]},
    "table": SINGLE["uploaded/table"],
}


def few_cases(uploads: Uploads) -> dict[str, Case]:
    return {name: make_case(uploads, fields) for name, fields in SPECS.items()}


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    file = tmp_path / "fingerprint.json"
    assert main(["save", str(file)], few_cases) == 0
    return file


def digests_at(learning_rate: float, uploads: Uploads) -> Digests:
    optimizer = BASE["optimizer"] | {"learning_rate": learning_rate}
    case = make_case(uploads, {"optimizer": optimizer, "analyses": ["calibration"]})
    with threads(1):
        return fingerprint(case, uploads)


def test_equal_specs_have_equal_digests_and_another_learning_rate_changes_each_of_them(uploads: Uploads) -> None:
    digests = digests_at(0.01, uploads)
    assert digests_at(0.01, uploads) == digests
    changed = digests_at(0.010001, uploads)
    assert changed.keys() == digests.keys() == {"weights", "history", "predictions", "analyses"}
    assert not set(changed.values()) & set(digests.values())


def test_an_untouched_file_compares_as_equal(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(saved)], few_cases) == 0
    output = capsys.readouterr().out
    assert "All 2 cases are equal" in output
    assert "Warning" not in output


def test_compare_names_each_case_that_differs_and_what_of_it(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(saved.read_text())
    content["cases"]["boosting"] |= {"weights": "0", "predictions": "0", "analyses": "0"}
    content["cases"]["removed"] = content["cases"].pop("table")
    saved.write_text(json.dumps(content))
    assert main(["compare", str(saved)], few_cases) == 1
    rows = {tuple(cell.strip() for cell in line.split("  ", 1)) for line in capsys.readouterr().out.splitlines()}
    assert ("boosting", "weights, predictions, analyses") in rows
    assert ("table", "new: not in the file") in rows
    assert ("removed", "missing: only in the file") in rows
    assert ("3 of 3 cases differ",) in rows


def test_compare_warns_of_another_torch_version(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(saved.read_text())
    content["environment"]["torch"] = "1.0"
    saved.write_text(json.dumps(content))
    assert main(["compare", str(saved)], few_cases) == 0
    assert "and was 1.0" in capsys.readouterr().out


def test_compare_without_a_file_says_how_to_write_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path / "absent")], few_cases) == 2
    assert "`save`" in capsys.readouterr().out


def test_save_refuses_a_file_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["save", str(tmp_path / "absent" / "file")], few_cases) == 2
    assert "cannot be written" in capsys.readouterr().out


def test_compiled_cases_are_skipped_without_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    file = tmp_path / "fingerprint.json"
    ((name, fields), *_) = COMPILED.items()
    assert main(["save", str(file)], lambda uploads: {name: make_case(uploads, fields)}) == 0
    assert f"Skipped {name}: there is no C++ compiler" in capsys.readouterr().out
    assert json.loads(file.read_text())["cases"] == {}


def test_the_cases_cover_every_component(uploads: Uploads) -> None:
    cases = all_cases(uploads)
    assert uncovered(cases.values()) == []
    assert uncovered(case for case in cases.values() if case.specs[0].network.kind != "gru") == ['the network "gru"']


class Transformer(Component):
    kind: Literal["transformer"] = "transformer"


def test_a_component_that_no_spec_can_train_is_named(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(COMPONENTS, "network", Annotated[Linear | MLP | Transformer, Field(discriminator="kind")])
    assert main(["save", str(tmp_path / "fingerprint.json")]) == 2
    assert 'no spec for the network "transformer" is valid' in capsys.readouterr().out
