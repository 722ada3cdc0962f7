import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner, Result

from descent import Client, DescentError
from descent.cli import app
from descent.exporting import to_mlflow, to_tensorboard
from descent.exporting.told import Told
from models.spec.job import JobSpec
from tests.descent.conftest import Answer, Service, make_job, make_metrics, make_page, make_run

ENDED: dict[str, Any] = {
    "status": "succeeded",
    "is_terminal": True,
    "started_at": "2026-01-02T03:04:10Z",
    "finished_at": "2026-01-02T03:04:20Z",
    "progress": {"completed": 100, "total": 100, "unit": "steps", "eta_seconds": None},
    "summary": {
        "train_loss": {"last": 0.25, "best": 0.125, "best_step": 60},
        "validation_loss": {"last": None, "best": 0.5, "best_step": 0},
    },
}
LOSSES = {"train_loss": {step: 1.0 / step for step in range(1, 101)}}
VALIDATION: dict[int, float | None] = {0: 0.5, 50: 0.75, 100: None}
SECONDS = {0: 1.0, 50: 4.0, 100: 8.0}


def lay_out(service: Service, *, runs: list[dict[str, Any]] | None = None, **of_job: Any) -> None:
    """A job of one run that has ended, unless told otherwise."""
    service.on("GET", "/v1/jobs/job_1", Answer(body=make_job(**of_job)))
    service.on("GET", "/v1/jobs", Answer(body=make_page(make_job(**of_job))))
    service.on("GET", "/v1/jobs/job_1/runs", Answer(body=make_page(*(runs or [make_run(**ENDED)]))))
    file = {
        "id": "artifact_1",
        "run_id": "run_1",
        "name": "weights.safetensors",
        "media_type": "application/octet-stream",
        "size": 5,
        "sha256": "0",
        "created_at": "2026-01-02T03:04:20Z",
    }
    service.on("GET", "/v1/runs/run_1/artifacts", Answer(body=make_page(file)))
    service.on("GET", "/v1/runs/run_1/artifacts/artifact_1", Answer(body=b"bytes"))
    report(service, end=True, **LOSSES, validation_loss=VALIDATION, train_seconds=SECONDS)


def report(service: Service, *, end: bool, **series: Any) -> None:
    service.on("GET", "/v1/runs/run_1/metrics", Answer(body=make_metrics("1-1", end=end, **series)))


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of MLflow with nothing in it: it takes seconds to be made."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}")
    return file


@pytest.fixture
def tracking(empty_store: Path, tmp_path: Path) -> Path:
    """A folder with a store of its own."""
    folder = tmp_path / "tracking"
    folder.mkdir()
    shutil.copy(empty_store, folder)
    return folder


def in_mlflow(folder: Path, experiment: str = "descent") -> tuple[MlflowClient, list[Any]]:
    """The store, and the runs of an experiment that are not in its trash."""
    store = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    found = store.get_experiment_by_name(experiment)
    assert found is not None
    return store, list(store.search_runs([found.experiment_id]))


def points(store: MlflowClient, run: Any, name: str) -> dict[int, float]:
    """By step; each must be there once."""
    told = store.get_metric_history(run.info.run_id, name)
    assert len({point.step for point in told}) == len(told)
    return {point.step: point.value for point in told}


def read_events(folder: str) -> Any:
    """What TensorBoard reads of a run, all of it."""
    told = EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
    return told.Reload()


def test_mlflow_gets_every_point_the_spec_and_who_the_run_is(service: Service, client: Client, tracking: Path) -> None:
    lay_out(service, experiment="first", tags=["a", "b"], notes="why")
    (done,) = to_mlflow(client, "job_1", tracking)
    assert (done.outcome, done.points) == ("written", 100 + 3 + 3 + 3)
    store, (run,) = in_mlflow(tracking, "first")
    assert run.info.run_id == done.place
    assert points(store, run, "train_loss") == LOSSES["train_loss"]
    validation = points(store, run, "validation_loss")
    assert math.isnan(validation.pop(100))
    assert validation == {0: 0.5, 50: 0.75}
    assert points(store, run, "final/train_loss") == {100: 0.25}
    assert points(store, run, "best/validation_loss") == {0: 0.5}
    assert "final/validation_loss" not in run.data.metrics
    assert run.data.params["optimizer.learning_rate"] == "0.001"
    assert run.data.params["network.hidden"] == "[64, 64]"
    assert run.data.params["evaluation.stratified"] == "false"
    assert "budget.steps" not in run.data.params, "it is null: the budget is in epochs"
    assert "name" not in run.data.params
    told = {name.removeprefix("descent."): value for name, value in run.data.tags.items() if "descent." in name}
    job = client.job("job_1")
    assert told.pop("version")
    assert told == {
        "experiment": "first",
        "name": "adam",
        "tags": "a, b",
        "job_id": "job_1",
        "run_id": "run_1",
        "seed": "0",
        "member": "0",
        "spec_hash": job.spec_hash,
        "status": "succeeded",
    }
    assert run.info.run_name == "adam, seed 0"
    assert run.data.tags["mlflow.note.content"] == "why"
    assert run.info.status == "FINISHED"
    assert run.info.end_time == 1_767_323_060_000
    files = {file.path for file in store.list_artifacts(run.info.run_id)}
    assert files == {"spec.json", "weights.safetensors"}
    weights, spec = (
        Path(store.download_artifacts(run.info.run_id, name)) for name in ("weights.safetensors", "spec.json")
    )
    assert weights.read_bytes() == b"bytes"
    assert JobSpec.model_validate_json(spec.read_text()) == job.spec


def test_points_get_the_time_at_which_they_were_reported(service: Service, client: Client, tracking: Path) -> None:
    lay_out(service)
    to_mlflow(client, "job_1", tracking)
    store, (run,) = in_mlflow(tracking)
    times = {point.step: point.timestamp for point in store.get_metric_history(run.info.run_id, "train_loss")}
    began = 1_767_323_050_000
    assert times[50] == began + 4_000
    assert times[75] == began + 6_000
    assert times[100] == began + 8_000
    assert run.info.start_time == began


def test_a_run_that_rested_ends_when_it_ended(service: Service, client: Client) -> None:
    lay_out(service, runs=[make_run(**ENDED, attempt=2)])
    (told,) = Told.each(client, client.job("job_1"))
    assert told.moment(100) == pytest.approx(1_767_323_060, abs=1e-3)
    assert told.moment(50) == pytest.approx(1_767_323_056, abs=1e-3)


def test_exporting_twice_leaves_mlflow_as_it_is(service: Service, client: Client, tracking: Path) -> None:
    lay_out(service)
    first, second = (to_mlflow(client, "job_1", tracking)[0] for _ in range(2))
    assert (second.outcome, second.points, second.place) == ("unchanged", 0, first.place)
    store, (run,) = in_mlflow(tracking)
    assert len(points(store, run, "train_loss")) == 100


def test_a_run_is_completed_in_mlflow_as_it_trains(service: Service, client: Client, tracking: Path) -> None:
    lay_out(service, runs=[make_run(summary=ENDED["summary"])])
    report(service, end=False, train_loss={1: 4.0, 2: 3.0}, validation_loss={0: None})
    service.on("GET", "/v1/runs/run_1/artifacts", Answer(body=make_page()))
    (early,) = to_mlflow(client, "job_1", tracking)
    store, (run,) = in_mlflow(tracking)
    assert (run.info.status, run.info.end_time) == ("RUNNING", None)
    assert set(run.data.metrics) == {"train_loss", "validation_loss"}, "nothing is final yet"
    lay_out(service)
    report(service, end=True, train_loss={1: 4.0, 2: 3.0, 3: 2.0}, validation_loss={0: None, 3: 0.5})
    (late,) = to_mlflow(client, "job_1", tracking)
    assert (late.outcome, late.points, late.place) == ("completed", 2 + 3, early.place)
    store, (run,) = in_mlflow(tracking)
    assert points(store, run, "train_loss") == {1: 4.0, 2: 3.0, 3: 2.0}
    assert run.info.status == "FINISHED"
    assert [file.path for file in store.list_artifacts(run.info.run_id)] == ["spec.json", "weights.safetensors"]


@pytest.mark.parametrize("what", ["spec", "points"])
def test_what_mlflow_cannot_change_is_written_anew_and_the_old_run_is_in_its_trash(
    service: Service, client: Client, tracking: Path, what: str
) -> None:
    lay_out(service)
    (before,) = to_mlflow(client, "job_1", tracking)
    if what == "spec":
        spec = {"dataset": "sine", "optimizer": "adam", "budget": {"epochs": 99}}
        lay_out(service, spec=JobSpec.model_validate(spec).model_dump(mode="json"))
    else:
        report(service, end=True, train_loss={1: 1.0, 2: 9.0}, validation_loss=VALIDATION, train_seconds=SECONDS)
    (after,) = to_mlflow(client, "job_1", tracking)
    assert after.outcome == "replaced"
    store, (run,) = in_mlflow(tracking)
    assert run.info.run_id == after.place != before.place
    assert points(store, run, "train_loss") == ({1: 1.0, 2: 9.0} if what == "points" else LOSSES["train_loss"])
    assert store.get_run(before.place).info.lifecycle_stage == "deleted"


def test_points_that_the_service_keeps_no_longer_stay_where_they_were_exported(
    service: Service, client: Client, tracking: Path, tmp_path: Path
) -> None:
    lay_out(service)
    to_mlflow(client, "job_1", tracking)
    (events,) = to_tensorboard(client, "job_1", tmp_path)
    report(service, end=True)
    assert to_mlflow(client, "job_1", tracking)[0].outcome == "unchanged"
    assert to_tensorboard(client, "job_1", tmp_path)[0].outcome == "unchanged"
    store, (run,) = in_mlflow(tracking)
    assert len(points(store, run, "train_loss")) == 100
    assert len(read_events(events.place).Scalars("train_loss")) == 100


def test_what_somebody_adds_to_a_run_in_mlflow_stays(service: Service, client: Client, tracking: Path) -> None:
    lay_out(service)
    to_mlflow(client, "job_1", tracking)
    store, (run,) = in_mlflow(tracking)
    store.log_metric(run.info.run_id, "liking", 5.0)
    store.set_tag(run.info.run_id, "seen", "yes")
    assert to_mlflow(client, "job_1", tracking)[0].outcome == "unchanged"
    _, (run,) = in_mlflow(tracking)
    assert run.data.metrics["liking"] == 5.0
    assert run.data.tags["seen"] == "yes"


def test_ten_thousand_points_and_a_long_list_fit_into_mlflow(service: Service, client: Client, tracking: Path) -> None:
    seeds = list(range(1_000))
    spec = JobSpec.model_validate({"dataset": "sine", "optimizer": "adam", "seeds": [10**9 + seed for seed in seeds]})
    lay_out(service, spec=spec.model_dump(mode="json"), notes="n" * 9_000)
    many = {step: float(step) for step in range(1, 10_001)}
    report(service, end=True, train_loss=many)
    (done,) = to_mlflow(client, "job_1", tracking)
    assert done.points == 10_000 + 3
    store, (run,) = in_mlflow(tracking)
    assert points(store, run, "train_loss") == many
    assert len(run.data.params["seeds"]) == 6_000
    assert run.data.params["seeds"].endswith("…")
    assert to_mlflow(client, "job_1", tracking)[0].outcome == "unchanged"


def test_an_experiment_in_the_trash_is_told_so(service: Service, client: Client, tracking: Path) -> None:
    lay_out(service)
    to_mlflow(client, "job_1", tracking)
    store, (run,) = in_mlflow(tracking)
    store.delete_experiment(run.info.experiment_id)
    with pytest.raises(DescentError, match="'descent' is in MLflow's trash: restore it"):
        to_mlflow(client, "job_1", tracking)


def test_tensorboard_reads_every_point_the_spec_and_how_it_ended(
    service: Service, client: Client, tmp_path: Path
) -> None:
    lay_out(service, notes="why")
    (done,) = to_tensorboard(client, "job_1", tmp_path)
    assert (done.outcome, done.points) == ("written", 100 + 3 + 3 + 3)
    told = read_events(done.place)
    scalars = {name: {one.step: one.value for one in told.Scalars(name)} for name in told.Tags()["scalars"]}
    assert scalars["train_loss"] == {
        step: pytest.approx(value, rel=1e-7) for step, value in LOSSES["train_loss"].items()
    }
    assert math.isnan(scalars["validation_loss"].pop(100))
    assert scalars["validation_loss"] == {0: 0.5, 50: 0.75}
    assert scalars["best/train_loss"] == {60: 0.125}
    assert told.Scalars("train_seconds")[1].wall_time == 1_767_323_054
    texts = {name: told.Tensors(name)[0].tensor_proto.string_val[0].decode() for name in ("run", "spec", "notes")}
    assert "| job_id | job_1 |" in texts["run"]
    assert json.loads(texts["spec"]) == client.job("job_1").spec.model_dump(mode="json")
    assert texts["notes"] == "why"
    start, end = (told.SummaryMetadata(f"_hparams_/session_{part}_info") for part in ("start", "end"))
    assert b"optimizer.learning_rate" in start.plugin_data.content
    assert end.plugin_data.content


def test_exporting_twice_leaves_one_file_of_events_even_where_the_job_was_renamed(
    service: Service, client: Client, tmp_path: Path
) -> None:
    lay_out(service)
    to_tensorboard(client, "job_1", tmp_path)
    (again,) = to_tensorboard(client, "job_1", tmp_path)
    assert again.outcome == "replaced"
    lay_out(service, name="eve")
    (renamed,) = to_tensorboard(client, "job_1", tmp_path)
    assert [path.parent for path in tmp_path.rglob("events.*")] == [Path(renamed.place)]
    assert Path(renamed.place).parent == tmp_path / "eve"
    assert len(read_events(renamed.place).Scalars("train_loss")) == 100


def test_a_name_of_a_job_leads_nowhere_else(service: Service, client: Client, tmp_path: Path) -> None:
    for name in ("../../etc", "/etc", "..", "a/b\\c:*?", "", "é" * 200):
        lay_out(service, name=name)
        (done,) = to_tensorboard(client, "job_1", tmp_path)
        assert Path(done.place).resolve().parent.parent == tmp_path.resolve()


@pytest.mark.parametrize(("package", "export"), [("mlflow", to_mlflow), ("tensorboard", to_tensorboard)])
def test_without_the_package_the_extra_is_named(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str, export: Callable[..., object]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DescentError, match=rf"pip install 'descent\[{package}\]'"):
        export(client, "job_1", tmp_path)


def test_neither_package_is_imported_before_it_is_needed() -> None:
    question = (
        "import sys, descent.cli, descent.exporting;"
        "print([name for name in ('mlflow', 'tensorboard', 'numpy', 'sqlalchemy') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_a_folder_that_cannot_be_is_told_so(service: Service, client: Client, tmp_path: Path) -> None:
    lay_out(service)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DescentError, match="cannot be written to"):
        to_mlflow(client, "job_1", file)
    with pytest.raises(DescentError, match="cannot be written to"):
        to_tensorboard(client, "job_1", file)


def test_a_store_that_mlflow_does_not_know_is_told_in_its_words(service: Service, client: Client) -> None:
    lay_out(service)
    with pytest.raises(DescentError, match=r"MLflow at nothing://here says: .*unsupported URI"):
        to_mlflow(client, "job_1", "nothing://here")


# ── the command ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def laid_out(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Service:
    monkeypatch.setenv("DESCENT_URL", service.url)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.chdir(tmp_path)
    lay_out(service)
    return service


def descent(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments])


def test_one_command_exports_to_both(laid_out: Service, tmp_path: Path) -> None:
    table = descent("adam", "--mlflow", "tracking", "--tensorboard", "events")
    assert table.exit_code == 0, table.output
    rows = [line.split()[:5] for line in table.stdout.splitlines()]
    assert rows[1:] == [["adam", "0", "mlflow", "written", "109"], ["adam", "0", "tensorboard", "written", "109"]]
    again = json.loads(descent("adam", "--mlflow", "tracking", "--tensorboard", "events", "--json").stdout)
    assert [again[tool][0]["outcome"] for tool in ("mlflow", "tensorboard")] == ["unchanged", "replaced"]
    assert Path(again["tensorboard"][0]["place"]).is_dir()
    assert len(in_mlflow(tmp_path / "tracking")[1]) == 1


def test_the_jobs_of_an_experiment_are_exported_without_files_where_that_is_asked(
    laid_out: Service, tmp_path: Path
) -> None:
    assert descent("--experiment", "first", "--mlflow", "tracking", "--no-artifacts").exit_code == 0
    assert ("experiment", "first") in laid_out.requests[0].parameters
    store, (run,) = in_mlflow(tmp_path / "tracking")
    assert store.list_artifacts(run.info.run_id) == []


def test_where_there_is_nothing_to_export_it_is_said(laid_out: Service) -> None:
    laid_out.on("GET", "/v1/jobs", Answer(body=make_page()))
    assert descent("--experiment", "none", "--tensorboard", "events").stdout == "No runs.\n"


@pytest.mark.parametrize("arguments", [["adam"], ["--mlflow", "a"], ["adam", "--experiment", "b", "--mlflow", "a"]])
def test_an_export_of_nothing_or_to_nowhere_is_wrong_usage(laid_out: Service, arguments: list[str]) -> None:
    assert descent(*arguments).exit_code == 2
    assert laid_out.requests == []
