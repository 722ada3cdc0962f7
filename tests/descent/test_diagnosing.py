import json

import pytest
from typer.testing import CliRunner

from descent.cli import app
from tests.descent.conftest import Answer, Service, make_job, make_page


def test_a_diagnosis_is_shown_with_its_numbers_and_its_advice(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESCENT_URL", service.url)
    job = make_job("job_7", name="deep")
    run = {
        "run_id": "run_1",
        "seed": 3,
        "verdict": "overfitting",
        "since_epoch": 12.0,
        "numbers": {"train_end": 0.01234, "validation_end": 0.5, "validation_best": 0.25},
        "advice": "add early_stopping",
        "field": "/regularizers",
    }
    found = {"job_id": "job_7", "verdict": "overfitting", "advice": "add early_stopping", "field": "/regularizers"}
    service.on("GET", "/v1/jobs", Answer(body=make_page(job)))
    service.on("GET", "/v1/jobs/job_7", Answer(body=job))
    service.on("GET", "/v1/jobs/job_7/diagnosis", Answer(body=found | {"runs": [run]}))
    told = CliRunner().invoke(app, ["diagnose", "deep"])
    assert told.exit_code == 0, told.stderr
    lines = [line.split() for line in told.stdout.splitlines()]
    assert lines[0] == ["deep", "overfitting"]
    assert lines[1] == ["add", "early_stopping", "(regularizers)"]
    assert lines[3] == ["3", "overfitting", "12", "0.01234", "0.5", "0.25"]
    assert json.loads(CliRunner().invoke(app, ["diagnose", "deep", "--json"]).stdout)["runs"] == [run]
