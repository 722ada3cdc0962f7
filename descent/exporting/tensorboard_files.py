"""Runs into TensorBoard: one folder with one file of events for each."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from descent.client import Client
from descent.errors import DescentError
from descent.exporting.told import Exported, Told
from models.answers import Job
from models.status import RunStatus

EVENTS = "events.out.tfevents.*"
_NO_PART_OF_A_NAME = re.compile(r"[^\w .,=+-]+")
_STATUSES = {
    RunStatus.SUCCEEDED: api_pb2.STATUS_SUCCESS,
    RunStatus.FAILED: api_pb2.STATUS_FAILURE,
    RunStatus.CANCELLED: api_pb2.STATUS_FAILURE,
}


def write(client: Client, job: Job, folder: Path) -> list[Exported]:
    """Write each run of a job.

    Raises:
        DescentError: if the folder cannot be written to.

    """
    try:
        return [_write(told, folder) for told in Told.each(client, job)]
    except OSError as error:
        raise DescentError(f"{folder} cannot be written to: {error.strerror or error}") from error


def _write(told: Told, folder: Path) -> Exported:
    before = list(folder.glob(f"*/*{told.run.id}/{EVENTS}"))
    if before and told.is_bare:
        return Exported.of(told, "unchanged", 0, str(before[0].parent))
    place = folder / _folder_name(told)
    events = list(_events(told))
    for file in before:
        file.unlink()
    # A job may have been renamed, and its runs stand elsewhere.
    for left in {file.parent for file in before} - {place}:
        if not any(left.iterdir()):
            left.rmdir()
    writer = EventFileWriter(str(place), max_queue_size=1_000)
    for event in events:
        writer.add_event(event)
    writer.close()
    points = sum(len(series.step) for series in told.series.values())
    return Exported.of(told, "replaced" if before else "written", points, str(place))


def _folder_name(told: Told) -> Path:
    """Readable, and the same run's alone: TensorBoard shows it as the name of the run."""
    job, run = told.job, told.run
    called = _NO_PART_OF_A_NAME.sub("-", job.name)[:100].strip(" .") or job.id
    member = f"-member-{run.member}" if job.spec.evaluation.members > 1 else ""
    return Path(called, f"seed-{run.seed}{member}-{run.id}")


def _events(told: Told) -> Iterator[Event]:
    began, run = told.began, told.run
    # Runs of one job repeat one trial; TensorBoard shows their mean, or each.
    yield Event(wall_time=began, summary=hparams_pb(told.spec, trial_id=told.job.id, start_time_secs=began))
    yield Event(wall_time=began, summary=text_pb("run", _table(told.facts)))
    yield Event(wall_time=began, summary=text_pb("spec", _code(told.job.spec.model_dump(mode="json"))))
    if told.job.notes:
        yield Event(wall_time=began, summary=text_pb("notes", told.job.notes))
    for name, series in told.series.items():
        for step, value in zip(series.step, series.value, strict=True):
            said = Summary.Value(tag=name, simple_value=math.nan if value is None else value)
            yield Event(wall_time=told.moment(step), step=step, summary=Summary(value=[said]))
    if run.finished_at is not None:
        yield Event(wall_time=run.finished_at.timestamp(), summary=_ending(run.status, run.finished_at.timestamp()))


def _ending(status: RunStatus, seconds: float) -> Summary:
    """That a trial's session is over, as the plugin for hyperparameters reads it."""
    ending = plugin_data_pb2.SessionEndInfo(status=_STATUSES[status], end_time_secs=seconds)
    told = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=ending))
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=told, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])


def _table(facts: dict[str, str]) -> str:
    """In Markdown."""
    rows = [f"| {name} | {value.replace('|', '&#124;')} |" for name, value in facts.items()]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _code(value: Any) -> str:
    """JSON as Markdown shows it to the letter."""
    return "\n".join("    " + line for line in json.dumps(value, indent=2, ensure_ascii=False).splitlines())
