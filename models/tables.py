"""The tables. Alembic's migrations follow them; both databases take the same ones."""

import secrets
import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    TypeDecorator,
    UniqueConstraint,
    select,
    text,
)
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from models.ownership import OfRun, Owned
from models.status import RunStatus

WEIGHTS, PREDICTIONS = "weights.safetensors", "predictions.safetensors"
TEST_PREDICTIONS = "test_predictions.safetensors"
"""Names of the artifacts that a run leaves."""

DATASET = "descent.dataset"
"""In the header of the weights: what makes raw rows of an uploaded data set the inputs of the network, as JSON."""


def new_id(prefix: str) -> str:
    """An identifier that sorts by time of birth and cannot be guessed: prefix, milliseconds, 64 random bits."""
    return f"{prefix}_{int(time.time() * 1000):011x}{secrets.token_hex(8)}"


def now() -> datetime:
    return datetime.now(UTC)


class Instant(TypeDecorator[datetime]):
    """A point in time, always aware and in UTC; SQLite would otherwise forget the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Table(DeclarativeBase):
    type_annotation_map = {datetime: Instant, dict[str, Any]: JSON, list[str]: JSON, list[Any]: JSON}  # noqa: RUF012


class Owner(Table):
    """Whom keys act for, and whom jobs belong to. A row is made with the first job."""

    __tablename__ = "owners"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    turn: Mapped[int] = mapped_column(BigInteger)
    """Rises whenever a worker takes runs or analyses of theirs: whoever has the lowest has waited longest."""


class Key(Table):
    """What lets a program act for an owner. Of its secret only a digest is kept."""

    __tablename__ = "keys"
    __table_args__ = (Index("keys_by_age", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    scope: Mapped[str] = mapped_column(String(10))
    note: Mapped[str] = mapped_column(String(200))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    previous_sha256: Mapped[str | None] = mapped_column(String(64))
    """Of the secret before the last rotation."""
    previous_until: Mapped[datetime | None]
    """Until when that one still opens."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """To the minute."""


class Event(Owned, Table):
    """Something that somebody did. It outlives what it was done to."""

    __tablename__ = "events"
    __table_args__ = (
        Index("events_by_age", "happened_at", "id"),
        Index("events_by_subject", "subject_id", "happened_at", "id"),
        Index("events_by_owner", "owner", "happened_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    subject_id: Mapped[str] = mapped_column(String(40))
    """The job, data set, sweep or key that it was done to; `owner` is whose that is."""
    action: Mapped[str] = mapped_column(String(40))
    actor: Mapped[str] = mapped_column(String(64))
    """For whom the key acted that did it."""
    key_id: Mapped[str] = mapped_column(String(40))
    request_id: Mapped[str] = mapped_column(String(64))
    detail: Mapped[dict[str, Any]]
    happened_at: Mapped[datetime]


class RateCount(Table):
    """What was counted in a window of time while Redis was away."""

    __tablename__ = "rate_counts"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    count: Mapped[int]
    ends_at: Mapped[datetime]


class Sweep(Owned, Table):
    """A base spec times a grid; its jobs point back at it."""

    __tablename__ = "sweeps"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    base: Mapped[dict[str, Any]]
    grid: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Dataset(Owned, Table):
    """An uploaded data set; its rows lie in storage under `datasets/<id>/`."""

    __tablename__ = "datasets"
    __table_args__ = (
        UniqueConstraint("owner", "name", name="datasets_owner_name_key"),
        Index("datasets_by_age", "created_at", "id"),
        Index("datasets_by_hash", "sha256"),
        Index("datasets_by_known", "known"),
        Index("datasets_by_owner", "owner", "stored_bytes"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    """Made from the uploaded bytes and their owner, so that the same data have the same name everywhere."""
    name: Mapped[str] = mapped_column(String(200))
    format: Mapped[str] = mapped_column(String(20))
    known: Mapped[str | None] = mapped_column(String(40))
    """The published data set that it is."""
    sha256: Mapped[str] = mapped_column(String(64))
    """Of the upload."""
    options: Mapped[dict[str, Any]]
    """How it was parsed."""
    size: Mapped[int] = mapped_column(BigInteger)
    """Bytes of the upload."""
    stored_bytes: Mapped[int] = mapped_column(BigInteger)
    """Bytes of its files in storage; they count towards the owner's quota."""
    rows: Mapped[int]
    description: Mapped[dict[str, Any]] = mapped_column(deferred=True)
    """See `models.stored.Description`."""
    preview: Mapped[dict[str, Any]] = mapped_column(deferred=True)
    """See `models.stored.Preview`."""
    created_at: Mapped[datetime]


class Job(Owned, Table):
    """One accepted spec. Its status is derived from its runs."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("jobs_by_age", "created_at", "id"),
        Index("jobs_by_owner", "owner", "created_at", "id"),
        Index("jobs_by_experiment", "experiment", "created_at", "id"),
        Index("jobs_by_hash", "spec_hash"),
        Index("jobs_by_sweep", "sweep_id"),
        Index("jobs_by_dataset", "dataset_id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    experiment: Mapped[str] = mapped_column(String(200))
    tags: Mapped[list[str]]
    notes: Mapped[str]
    priority: Mapped[int]
    spec: Mapped[dict[str, Any]]
    """The normalized spec as submitted; labels are read from the columns, which can change."""
    spec_hash: Mapped[str] = mapped_column(String(64))
    sweep_id: Mapped[str | None] = mapped_column(ForeignKey("sweeps.id", ondelete="SET NULL"))
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    """The uploaded data set that its runs read."""
    created_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=1)
    """Rises with every change of a label: the ETag of the editable part."""

    runs: Mapped[list["Run"]] = relationship(back_populates="job", order_by="Run.position", passive_deletes=True)


class Run(Owned, Table):
    """One network trained once. `attempt` is the fencing token: every write of a worker names it."""

    __tablename__ = "runs"
    __table_args__ = (
        Index("runs_by_job", "job_id", "position"),
        # The claim: the head of an owner's queue, then its cohort. Only waiting and live runs are ever scanned.
        Index("runs_by_queue", "status", text("priority DESC"), "queued_at", "id"),
        Index("runs_by_owner", "owner", "status", text("priority DESC"), "queued_at", "id"),
        Index("runs_by_cohort_key", "owner", "status", "cohort_key", text("priority DESC"), "queued_at", "id"),
        Index("runs_by_cohort", "cohort_id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    position: Mapped[int]
    """Place among the job's runs."""
    seed: Mapped[int] = mapped_column(BigInteger)
    member: Mapped[int] = mapped_column(default=0, server_default="0")
    """Which of the runs of its seed."""
    waits_for: Mapped[str | None] = mapped_column(String(40))
    """The run that has to succeed first."""
    device: Mapped[str] = mapped_column(String(8))
    """What the spec asks for: auto, cpu, cuda or mps."""
    priority: Mapped[int]
    cohort_key: Mapped[str] = mapped_column(String(64))
    status: Mapped[RunStatus] = mapped_column(String(12), default=RunStatus.QUEUED)
    status_reason: Mapped[str | None] = mapped_column(String(40))
    status_detail: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    """Attempts since the last checkpoint that ended with their worker vanishing; drains and pauses do not count."""
    most_together: Mapped[int | None]
    """How many runs its next cohort may have, since one broke down; None: as many as pay."""
    resume_step: Mapped[int] = mapped_column(default=0, server_default="0")
    """The step of its newest checkpoint, from which it goes on; 0: from the beginning. Runs of one cohort share it."""
    heartbeat: Mapped[int] = mapped_column(default=0)
    worker_id: Mapped[str | None] = mapped_column(String(40))
    cohort_id: Mapped[str | None] = mapped_column(ForeignKey("cohorts.id"))
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int]
    expected_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Estimate of what the run leaves in storage once it has ended; see `models.spec.run_files`."""
    train_seconds: Mapped[float | None]
    summary: Mapped[dict[str, Any] | None]
    """Per metric: last, best, best_step."""

    job: Mapped[Job] = relationship(back_populates="runs")


class Cohort(Table):
    """The runs that one worker trained together, and with what."""

    __tablename__ = "cohorts"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    worker_id: Mapped[str] = mapped_column(String(40))
    size: Mapped[int]
    from_step: Mapped[int] = mapped_column(default=0, server_default="0")
    """The step of the checkpoint that its runs went on from; 0: they began."""
    created_at: Mapped[datetime]
    provenance: Mapped[dict[str, Any] | None]
    """Device, threads, versions, eager or compiled: what the bits depend on."""


class Checkpoint(Owned, Table):
    """A file with all that some runs of a cohort need to go on after a step; each has a row in its tensors."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        Index("checkpoints_by_age", "created_at", "id"),
        Index("checkpoints_by_owner", "owner", "size"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    step: Mapped[int]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    storage_key: Mapped[str] = mapped_column(String(300))
    created_at: Mapped[datetime]


class CheckpointRow(OfRun, Table):
    """That a run can go on from a checkpoint. A checkpoint without rows is of no use to anybody."""

    __tablename__ = "checkpoint_rows"
    __table_args__ = (Index("checkpoint_rows_by_checkpoint", "checkpoint_id"),)

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    checkpoint_id: Mapped[str] = mapped_column(ForeignKey("checkpoints.id", ondelete="CASCADE"), primary_key=True)
    row: Mapped[int]
    """Its place in the tensors."""


class MetricSegment(OfRun, Table):
    """Consecutive chunks of one run's history, packed by `models.metric_stream`."""

    __tablename__ = "metric_segments"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    first_number: Mapped[int] = mapped_column(primary_key=True)
    last_number: Mapped[int]
    payload: Mapped[bytes] = mapped_column(LargeBinary)


class Snapshot(OfRun, Table):
    """What one network predicted at one step."""

    __tablename__ = "snapshots"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[dict[str, Any]]


def _owner_of_run(context: DefaultExecutionContext) -> str:
    assert context.current_parameters is not None
    run_id = context.current_parameters["run_id"]
    owner: str = context.connection.scalars(select(Run.owner).where(Run.id == run_id)).one()
    return owner


class Artifact(Owned, Table):
    """A file to download; its bytes lie in storage under `storage_key`."""

    __tablename__ = "artifacts"
    __table_args__ = (Index("artifacts_by_run", "run_id"), Index("artifacts_by_owner", "owner", "size"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    owner: Mapped[str] = mapped_column(String(64), default=_owner_of_run)
    """The owner of the run. Stored here too, so that the bytes of an owner are summed from an index alone."""
    name: Mapped[str] = mapped_column(String(200))
    media_type: Mapped[str] = mapped_column(String(100))
    size: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    storage_key: Mapped[str] = mapped_column(String(300))
    created_at: Mapped[datetime]


class Analysis(OfRun, Table):
    """One measurement of one trained network, asked for or made. `attempt` fences it as it does a run."""

    __tablename__ = "analyses"
    __table_args__ = (
        UniqueConstraint("run_id", "digest", name="analyses_run_id_digest_key"),
        Index("analyses_by_queue", "status", text("priority DESC"), "queued_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    options: Mapped[dict[str, Any]]
    digest: Mapped[str] = mapped_column(String(64))
    """Of kind and options: the same measurement is made once."""
    priority: Mapped[int]
    status: Mapped[RunStatus] = mapped_column(String(12), default=RunStatus.QUEUED)
    status_detail: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    worker_id: Mapped[str | None] = mapped_column(String(40))
    queued_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    values: Mapped[dict[str, Any] | None]
    """Numbers by which runs are compared."""
    details: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    """Curves, grids, eigenvalues."""


class TestLook(Owned, Table):
    """A job whose sealed test rows were looked at. It outlives the job: a look cannot be taken back."""

    __test__ = False  # no matter what pytest makes of its name
    __tablename__ = "test_looks"
    __table_args__ = (
        Index("test_looks_by_age", "opened_at", "id"),
        Index("test_looks_by_experiment", "experiment", "opened_at", "id"),
        Index("test_looks_by_dataset", "dataset_key", "opened_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(String(40), unique=True)
    job_name: Mapped[str] = mapped_column(String(200))
    spec_hash: Mapped[str] = mapped_column(String(64))
    experiment: Mapped[str] = mapped_column(String(200))
    dataset_key: Mapped[str] = mapped_column(String(64))
    """Equal for jobs that seal rows of the same data set away."""
    opened_by: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str]
    opened_at: Mapped[datetime]


class Worker(Table):
    """One training process. Gone once its heartbeat stands still for a lease."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    process_id: Mapped[int]
    device: Mapped[str] = mapped_column(String(8))
    """cpu, cuda or mps."""
    description: Mapped[dict[str, Any]]
    """Threads, memory, versions, the accelerator's name."""
    heartbeat: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    busy: Mapped[bool] = mapped_column(default=False)


class IdempotentAnswer(Owned, Table):
    """The stored answer to a POST that carried an Idempotency-Key; written in the transaction of its effect."""

    __tablename__ = "idempotent_answers"
    __table_args__ = (Index("idempotent_answers_by_age", "created_at"),)

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    route: Mapped[str] = mapped_column(String(200), primary_key=True)
    body_hash: Mapped[str] = mapped_column(String(64))
    status_code: Mapped[int]
    location: Mapped[str] = mapped_column(String(300))
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
