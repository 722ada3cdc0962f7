"""What the API answers: the one definition that the server fills in and the client reads."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from models.spec.job import JobSpec
from models.status import RunStatus
from models.stored import Column


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


Item = TypeVar("Item")


class Page(Answer, Generic[Item]):
    """One page of a list, newest first."""

    data: list[Item]
    has_more: bool
    next_after: str | None
    """Send it back as `after` for the next page."""


class ProblemError(Answer):
    """One thing that is wrong with a request, and where."""

    pointer: str
    """JSON pointer into the body, or `?name` for a query parameter."""
    code: str
    detail: str


class Problem(BaseModel):
    """An error as RFC 9457 describes it."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[ProblemError] = []


class Progress(Answer):
    completed: int
    total: int
    unit: str = "steps"
    eta_seconds: float | None


class MetricSummary(Answer):
    last: float | None
    best: float | None
    best_step: int | None


class Run(Answer):
    """One network trained once."""

    id: str
    job_id: str
    seed: int
    member: int = 0
    """Which of the runs of its seed: a fold, a replicate, a member of an ensemble; 0 for a holdout."""
    status: RunStatus
    status_reason: str | None
    status_detail: str | None
    is_terminal: bool
    attempt: int
    queue_position: int | None
    """How many waiting runs go first; None once it no longer waits."""
    progress: Progress
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    train_seconds: float | None
    summary: dict[str, MetricSummary]
    cohort_id: str | None
    provenance: dict[str, Any] | None
    """What the bits depend on: device, threads, versions, size of the cohort."""


class Job(Answer):
    """One accepted spec and how far its runs are."""

    id: str
    owner: str
    name: str
    experiment: str
    tags: list[str]
    notes: str
    priority: int
    spec: JobSpec
    spec_hash: str
    sweep_id: str | None
    created_at: datetime
    version: int
    status: RunStatus
    is_terminal: bool
    runs_by_status: dict[RunStatus, int]
    progress: Progress
    actions: list[str]
    """What can be done to it now: cancel, pause, resume, retry, extend, delete."""
    warnings: list[str]
    """What keeps it from training, such as a device that no live worker has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadColumn:
    """A column of an uploaded table, as a spec reads it."""

    # There may be 10,000 of them, of which pydantic's models would take several times as long.
    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    name: str
    type: str
    inputs: int
    """Of the network."""


class ReadDataset(Answer):
    """What a spec takes its uploaded data set for."""

    id: str
    name: str
    task: str
    target: str
    classes: list[str]
    """In the order of the network's outputs; empty for a regression."""
    features: list[ReadColumn]
    """Of a table."""
    left_out: dict[str, str]
    """Columns that nothing is learned from, and why."""
    grid: list[int]
    """Of images, (channels, height, width); of series, (channels, length)."""
    rows: int
    rows_left_out: int
    """Rows with empty cells, where the spec drops them."""


class PlannedJob(Answer):
    """What a spec would ask for, were it submitted."""

    spec: JobSpec
    spec_hash: str
    runs: int
    steps: int
    steps_per_epoch: int
    training_rows: int
    validation_rows: int
    test_rows: int
    batch_rows: int
    parameters: int
    memory_bytes: int
    stored_bytes: int
    """Bytes that all its runs together are expected to leave in storage."""
    dataset: ReadDataset | None = None
    """Of an uploaded data set."""
    warnings: list[str]


class Columns(Answer):
    """Points of one metric, as two columns of equal length."""

    step: list[int]
    value: list[float | None]
    """NaN and infinities travel as null."""
    total: int | None = None
    """Points before downsampling, when the series was downsampled."""


class Rollback(Answer):
    """The run was trained again from an earlier step: forget every point past it."""

    from_step: int
    """-1 where it began anew: forget every point."""


class MetricsPage(Answer):
    """The points after a cursor."""

    series: dict[str, Columns]
    non_finite: dict[str, list[int]]
    """Per metric, the steps whose value is NaN or infinite."""
    rollback: Rollback | None
    next_after: str
    status: RunStatus
    is_terminal: bool
    """The run has ended and nothing follows this page."""
    poll_after_ms: int
    """How long a polite client waits before it asks again."""


class AggregatedSeries(Answer):
    """One metric over the runs of a job."""

    step: list[int]
    mean: list[float | None]
    lower: list[float | None]
    upper: list[float | None]
    runs: list[int]
    """How many runs stand behind each value."""


class JobMetrics(Answer):
    series: dict[str, AggregatedSeries]
    confidence: float


class Snapshot(Answer):
    step: int
    content: dict[str, Any]


class Checkpoint(Answer):
    """From where a run can go on as if it had never stopped."""

    id: str
    step: int
    size: int
    """Bytes of the file, in which other runs of the cohort may stand, too."""
    sha256: str
    created_at: datetime


class Artifact(Answer):
    id: str
    run_id: str
    name: str
    media_type: str
    size: int
    sha256: str
    created_at: datetime


class Estimate(Answer):
    """A number over the seeds of a job."""

    mean: float
    standard_deviation: float | None
    """None for one seed."""
    seeds: int


class MemberResult(Answer):
    """One run inside of an evaluation."""

    run_id: str
    member: int
    score: float
    """On the rows that validate it."""
    weight: float | None
    """By which it counts in a weighted ensemble."""


class SeedResults(Answer):
    """What the runs of one seed come to together."""

    seed: int
    members: list[MemberResult]
    scores: dict[str, float]
    series: dict[str, list[float]]
    """Scores of ensembles of the first 1, 2, 3, … members."""


class JobResults(Answer):
    """What the runs of a job come to together: folds, replicates, ensembles."""

    job_id: str
    evaluation: str
    measure: str
    """What the scores are: "accuracy", or "mean_squared_error" in the target's own units."""
    runs: int
    """Of the job."""
    counted: int
    """Runs that have succeeded and stand behind these numbers."""
    scores: dict[str, Estimate]
    seeds: list[SeedResults]


class Diagnosis(Answer):
    """What a run's losses look like, and what to do about it."""

    run_id: str
    seed: int
    verdict: str
    """diverged, unstable, overfitting, underfitting, good_fit, or too_early where there are too few evaluations."""
    since_epoch: float | None
    """Of overfitting: the epoch of the best validation loss."""
    numbers: dict[str, float]
    """What the verdict goes by, of losses in evaluation mode: see docs/diagnosis.md."""
    advice: str
    field: str | None
    """JSON pointer to what the advice would change in the spec."""


class JobDiagnosis(Answer):
    """The verdict of most of a job's runs."""

    job_id: str
    verdict: str
    advice: str
    field: str | None
    runs: list[Diagnosis]


class Analysis(Answer):
    """What was measured of one trained network."""

    id: str
    run_id: str
    job_id: str
    seed: int
    member: int
    kind: str
    options: dict[str, Any]
    """The analysis as it was asked for, every default spelled out."""
    status: str
    """queued, running, succeeded or failed."""
    is_terminal: bool
    status_detail: str | None
    """Why it failed."""
    values: dict[str, float | None]
    """What came out, as numbers that runs can be compared by; null where a number is not finite."""
    details: dict[str, Any]
    """Curves, grids, eigenvalues."""
    queued_at: datetime
    finished_at: datetime | None


class TestEvaluation(Answer):
    """A job's sealed test rows, opened: on record for good."""

    job_id: str
    job_name: str
    spec_hash: str
    experiment: str
    look: int
    """Which look at sealed rows this was for the experiment, from 1."""
    looks_at_dataset: int
    """How many jobs on this data set had been opened by then, this one included, in whatever experiment."""
    opened_by: str
    reason: str
    opened_at: datetime
    runs: int
    """Runs that had succeeded."""
    evaluated: int
    """Runs measured so far."""
    failures: list[str]
    """Why runs could not be measured."""
    is_terminal: bool
    """Nothing more will be measured."""
    scores: dict[str, Estimate]
    """Over seeds, each the mean of its runs: test_loss, and test_accuracy or test_rmse."""


class Sweep(Answer):
    """A base spec times a grid. `GET /v1/jobs?sweep=` lists its jobs."""

    id: str
    owner: str
    name: str
    grid: dict[str, list[Any]]
    created_at: datetime
    jobs: int
    """Number of jobs."""
    status: RunStatus
    runs_by_status: dict[RunStatus, int]


class Experiment(Answer):
    """A named question that groups jobs."""

    name: str
    jobs: int
    runs_by_status: dict[RunStatus, int]
    first_created_at: datetime
    last_created_at: datetime


class DatasetSummary(Answer):
    """An uploaded data set in a list."""

    id: str
    owner: str
    name: str
    format: str
    """csv, tsv, parquet, npy, npz, images, idx or cifar."""
    known: str | None
    """The published data set that it is: a spec may name it by this kind."""
    rows: int
    size: int
    """Bytes that were uploaded."""
    stored_bytes: int
    """Bytes that it takes in storage; they count towards the owner's quota."""
    sha256: str
    """Of the upload."""
    created_at: datetime


class Dataset(DatasetSummary):
    """An uploaded data set, and what its columns hold."""

    layout: str
    """table, or grid for images and series."""
    columns: list[Column]
    """Of a table; of a grid, its target."""
    grid: list[int]
    """Of a grid: (channels, height, width), or (channels, length)."""
    notes: list[str]
    """What was taken for granted when it was read."""


class DatasetPreview(Answer):
    """A look into an uploaded data set."""

    columns: list[Column]
    """The first hundred, with what they hold."""
    rows: list[list[Any]]
    """The first rows, a cell for each of these columns."""
    thumbnails: list[dict[str, str]]
    """Images: their `label`, and `png`, the file in base64."""


class Predictions(Answer):
    """What a trained network says of rows."""

    task: str
    target: str
    classes: list[str]
    """In the order of the probabilities; empty for a regression."""
    predictions: list[str] | list[float]
    """For each row the likeliest class, or the value in its own units."""
    probabilities: list[list[float]] | None
    """For each row that of each class; None for a regression."""


class ComponentChoice(Answer):
    """One kind that a spec may name."""

    family: str
    kind: str
    summary: str
    json_schema: dict[str, Any] = Field(serialization_alias="schema", validation_alias="schema")
    defaults: dict[str, Any]
    per_run: list[str]
    """Fields that may differ between the runs of one cohort."""


class Queue(Answer):
    waiting_by_device: dict[str, int]
    running: int
    oldest_waiting_seconds: float | None
    warnings: list[str]


class StoredBytes(Answer):
    """Bytes in storage, by kind of file."""

    datasets: int
    artifacts: int
    checkpoints: int
    total: int


class Usage(Answer):
    """What an owner uses, and how much of it the quotas allow; null stands for a quota that does not bind."""

    owner: str
    stored_bytes: StoredBytes
    expected_bytes: int
    """Bytes that the unfinished runs are expected to add until all of them have ended."""
    max_stored_bytes: int | None
    """Of the stored and the expected bytes together."""
    queued_runs: int
    max_queued_runs: int | None
    running_runs: int
    max_running_runs: int
    """Other runs of the owner wait meanwhile; this one binds admins, too."""


class Worker(Answer):
    """One training process."""

    id: str
    host: str
    process_id: int
    device: str
    busy: bool
    description: dict[str, Any]
    started_at: datetime
    seen_at: datetime


class Health(Answer):
    status: str


class Readiness(Answer):
    """Which of the parts that the service stands on answer."""

    ready: bool
    database: bool
    broker: bool
    metrics: bool


class Removed(Answer):
    count: int
    bytes: int


class Housekeeping(Answer):
    """What was removed, or would be."""

    dry_run: bool
    checkpoints: Removed
    histories: Removed
    """Runs whose points and snapshots went, and the bytes of the points."""
    artifacts: Removed
    orphans: Removed
    """Files in storage that nothing names."""
    orphan_keys: list[str]
    """At most 100 of them."""
    damaged: list[str]
    """Checkpoints whose files are gone or not whole, at most 100."""
