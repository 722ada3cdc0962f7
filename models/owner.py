"""What the owner of a job may do to it: submit, cancel, pause, resume, retry, extend, delete."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Session

from models import checkpoints, shares
from models.spec.job import LONG_STEPS, Budget, JobSpec
from models.spec.plan import Plan, PlanError, plan
from models.spec.run_files import run_bytes
from models.spec.schedules import Constant
from models.status import RunStatus, StatusReason
from models.tables import Analysis, Artifact, CheckpointRow, Job, Run, TestLook, new_id, now


class IllegalAction(Exception):
    """The job's status does not allow this action; `legal` lists what it does allow, and so does the message."""

    def __init__(self, message: str, legal: Sequence[str]) -> None:
        super().__init__(f"{message} (possible now: {', '.join(legal)})" if legal else message)
        self.legal = list(legal)


@dataclass(frozen=True)
class Submission:
    """A validated spec, ready to be stored as a job.

    Built before the transaction, because it takes longer than storing and SQLite blocks other writers meanwhile.
    """

    spec: JobSpec
    dataset_id: str | None
    document: dict[str, Any]
    spec_hash: str
    cohort_key: str
    total_steps: int
    """Of one run."""
    expected_bytes: int
    """That one run leaves in storage."""

    @classmethod
    def of(cls, spec: JobSpec, plan: Plan, dataset_id: str | None = None) -> "Submission":
        return cls(
            spec=spec,
            dataset_id=dataset_id,
            document=spec.model_dump(mode="json"),
            spec_hash=spec.spec_hash,
            cohort_key=spec.cohort_key,
            total_steps=plan.steps,
            expected_bytes=run_bytes(spec, plan),
        )


def submit(session: Session, owner: str, spec: JobSpec, plan: Plan, *, dataset_id: str | None = None) -> Job:
    """Store a job and its runs as queued. The queued row itself is the outbox: the relay sees it and wakes workers."""
    return submit_all(session, owner, [Submission.of(spec, plan, dataset_id)])[0]


def submit_all(
    session: Session, owner: str, submissions: Sequence[Submission], *, sweep_id: str | None = None
) -> list[Job]:
    """Store several jobs and their runs as queued, in bulk.

    Returns:
        The jobs, in the order of the submissions; both their ids and those of their runs sort in this order.

    """
    shares.enrol(session, owner)
    moment = now()
    # Ids of the same millisecond are in random order: sorted, so that lists and the queue keep the order.
    job_ids = sorted(new_id("job") for _ in submissions)
    run_ids = iter(sorted(new_id("run") for submission in submissions for _ in submission.spec.runs))
    jobs: list[Job] = []
    runs: list[dict[str, Any]] = []
    for job_id, submission in zip(job_ids, submissions, strict=True):
        spec = submission.spec
        job = Job(
            id=job_id,
            owner=owner,
            name=spec.name,
            experiment=spec.experiment,
            tags=list(spec.tags),
            notes=spec.notes,
            priority=spec.priority,
            spec=submission.document,
            spec_hash=submission.spec_hash,
            sweep_id=sweep_id,
            dataset_id=submission.dataset_id,
            created_at=moment,
            version=1,
        )
        jobs.append(job)
        runs += _queued_runs(job, submission, run_ids)
    session.add_all(jobs)
    session.flush()
    session.execute(insert(Run), runs)
    return jobs


def _queued_runs(job: Job, submission: Submission, run_ids: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a job's runs."""
    spec = submission.spec
    chained = spec.evaluation.one_after_another
    before = None
    for position, (seed, member) in enumerate(spec.runs):
        run_id = next(run_ids)
        yield {
            "id": run_id,
            "job_id": job.id,
            "owner": job.owner,
            "position": position,
            "seed": seed,
            "member": member,
            "waits_for": before if chained and member else None,
            "device": spec.device,
            "priority": spec.priority,
            "cohort_key": submission.cohort_key,
            "status": RunStatus.QUEUED,
            "attempt": 0,
            "crashes": 0,
            "heartbeat": 0,
            "queued_at": job.created_at,
            "step": 0,
            "total_steps": submission.total_steps,
            "expected_bytes": submission.expected_bytes,
        }
        before = run_id


def legal_actions(statuses: Sequence[RunStatus]) -> list[str]:
    """What can be done to a job whose runs have these statuses."""
    actions = []
    for action, standing in (
        ("cancel", {RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.PAUSED}),
        ("pause", {RunStatus.QUEUED, RunStatus.RUNNING}),
        ("resume", {RunStatus.PAUSING, RunStatus.PAUSED}),
        ("retry", {RunStatus.FAILED, RunStatus.CANCELLED}),
    ):
        if standing & set(statuses):
            actions.append(action)
    if all(s.is_terminal for s in statuses):
        actions += ["extend", "delete"] if RunStatus.SUCCEEDED in statuses else ["delete"]
    return actions


def cancel(session: Session, *job_ids: str) -> None:
    """Cancel the queued and paused runs of some jobs, and ask the workers to stop those in training.

    Raises:
        IllegalAction: if every run has ended already.

    """
    statuses = _statuses(session, *job_ids)
    if "cancel" not in (legal := legal_actions(statuses)) and RunStatus.CANCELLING not in statuses:
        raise IllegalAction("every run of this job has ended: there is nothing to cancel", legal)
    reason = {"status_reason": StatusReason.CANCELLED_BY_USER, "status_detail": None}
    for before in (RunStatus.QUEUED, RunStatus.PAUSED):
        _change(session, job_ids, before, status=RunStatus.CANCELLED, finished_at=now(), **reason)
    for before in (RunStatus.RUNNING, RunStatus.PAUSING):
        _change(session, job_ids, before, status=RunStatus.CANCELLING, **reason)


def pause(session: Session, *job_ids: str) -> None:
    """Pause the queued runs of some jobs, and ask the workers to save and release those in training.

    Raises:
        IllegalAction: if no run waits or trains.

    """
    statuses = _statuses(session, *job_ids)
    if "pause" not in (legal := legal_actions(statuses)) and not {RunStatus.PAUSING, RunStatus.PAUSED} & set(statuses):
        raise IllegalAction("no run of this job waits or trains: there is nothing to pause", legal)
    reason = {"status_reason": StatusReason.PAUSED_BY_USER, "status_detail": None}
    _change(session, job_ids, RunStatus.QUEUED, status=RunStatus.PAUSED, **reason)
    _change(session, job_ids, RunStatus.RUNNING, status=RunStatus.PAUSING, **reason)


def resume(session: Session, *job_ids: str) -> None:
    """Queue the paused runs of some jobs, to continue from their checkpoints; those being paused keep training.

    Raises:
        IllegalAction: if no run rests or is about to.

    """
    statuses = _statuses(session, *job_ids)
    if "resume" not in (legal := legal_actions(statuses)):
        raise IllegalAction("no run of this job is paused: there is nothing to resume", legal)
    _change(session, job_ids, RunStatus.PAUSED, status=RunStatus.QUEUED, status_reason=None, queued_at=now())
    _change(session, job_ids, RunStatus.PAUSING, status=RunStatus.RUNNING, status_reason=None)


def _change(session: Session, job_ids: Sequence[str], before: RunStatus, **values: Any) -> None:
    session.execute(
        update(Run)
        .where(Run.job_id.in_(job_ids), Run.status == before)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def retry(session: Session, job_id: str) -> None:
    """Queue the failed and cancelled runs of a job again; they go on from their last checkpoints.

    Raises:
        IllegalAction: if none of its runs failed or was cancelled.

    """
    statuses = _statuses(session, job_id)
    if "retry" not in (legal := legal_actions(statuses)):
        raise IllegalAction("no run of this job failed or was cancelled: there is nothing to retry", legal)
    _queue_again(session, Run.job_id == job_id, Run.status.in_((RunStatus.FAILED, RunStatus.CANCELLED)))


def _queue_again(session: Session, *which: ColumnElement[bool]) -> None:
    """Queue ended runs, with nothing held against them."""
    session.execute(
        update(Run)
        .where(*which)
        .values(
            status=RunStatus.QUEUED,
            status_reason=None,
            status_detail=None,
            crashes=0,
            most_together=None,
            cohort_id=None,
            worker_id=None,
            queued_at=now(),
            started_at=None,
            finished_at=None,
        )
        .execution_options(synchronize_session=False)
    )


def extended(spec: JobSpec, budget: Budget) -> JobSpec:
    """The spec under a larger budget, such that its runs are the same up to where they have come.

    What was "auto" is what it came to under the first budget: a history has one rhythm, and a run that was trained
    eagerly goes on so.

    Raises:
        PlanError: if the budget is not larger, or would have changed the steps that were taken; it points into
            `/budget`.

    """
    before = plan(spec)
    if not isinstance(spec.schedule, Constant):
        raise PlanError(
            "/budget",
            f'the schedule "{spec.schedule.kind}" may go by the budget, under which a larger one would have trained '
            "differently from the first step on. Submit a new job",
        )
    if spec.evaluation.one_after_another:
        raise PlanError("/budget", "each round of boosting goes by the one before: submit a new job")
    record = {"every_steps": before.record_every, "evaluate_every": before.evaluate_every}
    longer = spec.model_copy(update={"budget": budget, "record": spec.record.model_copy(update=record)})
    try:
        steps = plan(longer).steps
    except PlanError as error:
        # What it stumbles over was fixed with the first budget, and is none of the fields that can change.
        pointer = error.pointer if error.pointer.startswith("/budget") else "/budget"
        raise PlanError(pointer, f"under this budget {error}") from None
    if steps <= before.steps:
        raise PlanError("/budget", f"{steps:,} steps are no more than the {before.steps:,} that it has: ask for more")
    if spec.execution == "auto" and before.steps < LONG_STEPS <= steps:
        longer = longer.model_copy(update={"execution": "eager"})
    return longer


def asks_for_the_same(before: Budget, after: Budget) -> bool:
    """Whether two budgets differ in nothing but seconds."""
    return (before.steps, before.epochs) == (after.steps, after.epochs)


def limit_seconds(job: Job, spec: JobSpec, max_seconds: float | None) -> None:
    """Let each run train for so long, from its next attempt on; it changes no step."""
    budget = spec.budget.model_copy(update={"max_seconds": max_seconds})
    job.spec = spec.model_copy(update={"budget": budget}).model_dump(mode="json")
    job.version += 1


def extend(session: Session, job: Job, spec: JobSpec, counted: Plan) -> None:
    """Let those runs of an ended job go on that spent their budget; `spec` is its spec under a larger one.

    Whoever stopped early would have done so under any budget, and stays. What was measured of the old weights goes.

    Raises:
        IllegalAction: while a run waits or trains, if none spent its budget, or if its sealed test was opened.

    """
    statuses = _statuses(session, job.id)
    legal = legal_actions(statuses)
    if "extend" not in legal:
        raise IllegalAction("a budget is extended once every run has ended and one has succeeded", legal)
    legal.remove("extend")
    if session.scalar(select(TestLook.id).where(TestLook.job_id == job.id)) is not None:
        raise IllegalAction("its sealed test was opened: whatever trains on now has seen it. Submit a new job", legal)
    spent = session.scalars(
        select(Run.id).where(Run.job_id == job.id, Run.status == RunStatus.SUCCEEDED, Run.status_reason.is_(None))
    ).all()
    if not spent:
        raise IllegalAction("every run of it stopped early, and would under any budget", legal)
    job.spec, job.spec_hash = spec.model_dump(mode="json"), spec.spec_hash
    job.version += 1
    session.execute(
        update(Run)
        .where(Run.job_id == job.id)
        .values(cohort_key=spec.cohort_key, total_steps=counted.steps, expected_bytes=run_bytes(spec, counted))
        .execution_options(synchronize_session=False)
    )
    session.execute(delete(Analysis).where(Analysis.run_id.in_(spent)))
    _queue_again(session, Run.id.in_(spent))


def delete_job(session: Session, job_id: str) -> list[str]:
    """Delete a job with its runs and histories.

    Returns:
        The storage keys of its artifacts and checkpoints, whose bytes are now nobody's.

    Raises:
        IllegalAction: while a run of it waits, rests or trains.

    """
    statuses = _statuses(session, job_id)
    if "delete" not in (legal := legal_actions(statuses)):
        raise IllegalAction("this job is still under way: cancel it first", legal)
    keys = session.scalars(select(Artifact.storage_key).join(Run).where(Run.job_id == job_id)).all()
    saved = session.scalars(select(CheckpointRow.checkpoint_id).join(Run).where(Run.job_id == job_id).distinct()).all()
    session.execute(delete(Job).where(Job.id == job_id))
    return [*keys, *checkpoints.remove_unneeded(session, saved)]


def _statuses(session: Session, *job_ids: str) -> list[RunStatus]:
    rows = session.scalars(select(Run.status).where(Run.job_id.in_(job_ids)).order_by(Run.id).with_for_update())
    return [RunStatus(status) for status in rows]
