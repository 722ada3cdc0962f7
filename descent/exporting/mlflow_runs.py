"""Runs into MLflow: a store of its own, or a tracking server."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils import validation

from descent.client import Client
from descent.errors import DescentError
from descent.exporting.told import Exported, Outcome, Told
from models.answers import Job
from models.status import RunStatus

UNNAMED = "descent"
"""The experiment of jobs that have none."""
RUN_ID = "descent.run_id"
"""The tag by which a run is found again."""
SPEC_FILE = "spec.json"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:|databricks$")
"""A scheme of one letter would be a drive of Windows."""
_STATUSES = {
    RunStatus.QUEUED: "SCHEDULED",
    RunStatus.PAUSED: "SCHEDULED",
    RunStatus.SUCCEEDED: "FINISHED",
    RunStatus.FAILED: "FAILED",
    RunStatus.CANCELLED: "KILLED",
}
"""Any other run is RUNNING there."""

Point = tuple[str, int, float | None]
"""Metric, step, value; None where the value is not finite."""
Item = TypeVar("Item")


def write(client: Client, job: Job, destination: str | Path, *, artifacts: bool) -> list[Exported]:
    """Write each run of a job.

    Raises:
        DescentError: if MLflow refuses, or the folder cannot be written to.

    """
    try:
        experiment = _opened(destination, job.experiment or UNNAMED)
        return [experiment.write(told, client if artifacts else None) for told in Told.each(client, job)]
    except MlflowException as error:
        raise DescentError(f"MLflow at {destination} says: {error.message}") from error
    except OSError as error:
        raise DescentError(f"{destination} cannot be written to: {error.strerror or error}") from error


def _opened(destination: str | Path, name: str) -> "_Experiment":
    """The experiment of this name, which is made if there is none."""
    if isinstance(destination, str) and _URI.match(destination):
        uri, files = destination, None
    else:
        folder = Path(destination).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        # Left to itself, MLflow puts files below the folder in which this process was started.
        uri, files = f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()
    store = MlflowClient(tracking_uri=uri)
    found = store.get_experiment_by_name(name)
    if found is None:
        return _Experiment(store, store.create_experiment(name, artifact_location=files))
    if found.lifecycle_stage == "deleted":
        raise DescentError(f"The experiment {name!r} is in MLflow's trash: restore it there, or remove it for good.")
    return _Experiment(store, found.experiment_id)


@dataclass(frozen=True)
class _Experiment:
    """An experiment of MLflow, to which runs are written."""

    store: MlflowClient
    id: str

    def write(self, told: Told, files_of: Client | None) -> Exported:
        """Write one run, or what is missing of it; its files, too, if they are to be had."""
        found = self._find(told.run.id)
        if found is not None and told.is_bare:
            return Exported.of(told, "unchanged", 0, found.info.run_id)
        points = {
            (name, step, value)
            for name, series in told.series.items()
            for step, value in zip(series.step, series.value, strict=True)
        }
        there = set() if found is None else self._points(found, told)
        outcome: Outcome = "written" if found is None else "unchanged"
        if found is not None and not (there <= points and self._agrees(found, told)):
            self.store.delete_run(found.info.run_id)
            found, there, outcome = None, set(), "replaced"
        run_id = self._create(told) if found is None else found.info.run_id
        missing = sorted(points - there, key=lambda point: point[:2])
        self._log(run_id, told, missing)
        has_files = files_of is not None and self._log_files(run_id, told, files_of)
        self._tell_status(run_id, told)
        if outcome == "unchanged" and (missing or has_files):
            outcome = "completed"
        return Exported.of(told, outcome, len(missing), run_id)

    def _find(self, run_id: str) -> Any:
        """What an earlier export wrote of a run; None if nothing."""
        found = self.store.search_runs([self.id], f"tags.`{RUN_ID}` = '{run_id}'", max_results=1)
        return found[0] if found else None

    def _points(self, found: Any, told: Told) -> set[Point]:
        """Those that are there; metrics that somebody else has added do not count."""
        return {
            (name, point.step, point.value if math.isfinite(point.value) else None)
            for name in found.data.metrics
            if name in told.series
            for point in self.store.get_metric_history(found.info.run_id, name)
        }

    def _agrees(self, found: Any, told: Told) -> bool:
        """Whether no parameter would have to change, which MLflow does not allow."""
        return all(found.data.params.get(name, value) == value for name, value in _parameters(told).items())

    def _create(self, told: Told) -> str:
        tags = {RUN_ID: told.run.id, "mlflow.user": told.job.owner}
        made = self.store.create_run(self.id, round(1000 * told.began), tags, told.name)
        run_id: str = made.info.run_id
        return run_id

    def _log(self, run_id: str, told: Told, points: Sequence[Point]) -> None:
        parameters = [Param(name, value) for name, value in _parameters(told).items()]
        facts = {f"descent.{name}": value for name, value in told.facts.items()}
        facts |= {"mlflow.runName": told.name, "mlflow.note.content": told.job.notes}
        tags = [RunTag(name, _cut(value, validation.MAX_TAG_VAL_LENGTH)) for name, value in facts.items() if value]
        for some in _batches(parameters, validation.MAX_PARAMS_TAGS_PER_BATCH):
            self.store.log_batch(run_id, params=some)
        for some in _batches(tags, validation.MAX_PARAMS_TAGS_PER_BATCH):
            self.store.log_batch(run_id, tags=some)
        for batch in _batches(points, validation.MAX_METRICS_PER_BATCH):
            self.store.log_batch(
                run_id,
                [
                    Metric(name, math.nan if value is None else value, round(1000 * told.moment(step)), step)
                    for name, step, value in batch
                ],
            )

    def _log_files(self, run_id: str, told: Told, client: Client) -> bool:
        """Whether any was missing: the spec, and the files that the run left."""
        there = {file.path for file in self.store.list_artifacts(run_id)}
        left = [artifact for artifact in client.artifacts(told.run) if artifact.name not in there]
        if SPEC_FILE not in there:
            self.store.log_text(run_id, told.job.spec.model_dump_json(indent=2), SPEC_FILE)
        with TemporaryDirectory(prefix="descent-export-") as folder:
            for artifact in left:
                path = Path(folder, artifact.name)
                path.write_bytes(client.download(artifact))
                self.store.log_artifact(run_id, str(path))
        return bool(left) or SPEC_FILE not in there

    def _tell_status(self, run_id: str, told: Told) -> None:
        status = _STATUSES.get(told.run.status, "RUNNING")
        if told.run.finished_at is None:
            self.store.update_run(run_id, status)
        else:
            self.store.set_terminated(run_id, status, round(1000 * told.run.finished_at.timestamp()))


def _parameters(told: Told) -> dict[str, str]:
    """The spec as MLflow has parameters: texts of limited length."""
    return {name: _cut(text, validation.MAX_PARAM_VAL_LENGTH) for name, text in told.spec_texts.items()}


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
