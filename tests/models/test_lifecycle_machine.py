"""Whatever anybody calls in whatever order, runs do exactly what a small model of their life says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from models import checkpoints, crashes, lifecycle, owner
from models.checkpoints import CheckpointFile
from models.database import Database
from models.lifecycle import MAX_CRASHES, Claim, ClaimedRun
from models.owner import IllegalAction
from models.spec.job import Budget, JobSpec
from models.spec.plan import plan
from models.status import RunStatus, StatusReason
from models.tables import Checkpoint, CheckpointRow, Cohort, Job, Run
from tests.models.transactions import commit, submit

QUEUED, RUNNING, CANCELLING = RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.CANCELLING
PAUSING, PAUSED = RunStatus.PAUSING, RunStatus.PAUSED
SUCCEEDED, FAILED, CANCELLED = RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED

KEPT = 2
EXTENDED = ", extended"
ENDING: dict[str, Any] = {"step": 10, "train_seconds": 1.0, "summary": {}}


@dataclass
class Expected:
    """A run as the model has it."""

    job_id: str
    order: tuple[int, int]
    """By which it is claimed: queued so long ago, and its place among those."""
    kind: str
    steps: int = 100
    status: RunStatus = QUEUED
    attempt: int = 0
    crashes: int = 0
    most_together: int | None = None
    cohort_id: str | None = None
    saved: list[int] = field(default_factory=list)
    """The steps of its checkpoints, the oldest first."""

    @property
    def resume_step(self) -> int:
        return max(self.saved, default=0)

    @property
    def is_held(self) -> bool:
        return self.status in (RUNNING, PAUSING, CANCELLING)

    @property
    def key(self) -> tuple[str, int, int, int | None]:
        """Equal for runs that may share a cohort."""
        return self.kind, self.steps, self.resume_step, self.most_together


class Life(RuleBasedStateMachine):
    """Anybody calls anything at any time, with cohorts that are long over, too."""

    database: ClassVar[Database]

    def __init__(self) -> None:
        super().__init__()
        with self.database.write() as session:
            for table in (Job, Cohort, Checkpoint):
                session.execute(delete(table))
        self.runs: dict[str, Expected] = {}
        self.claims: list[Claim] = []
        self.cohort_sizes: dict[str, int] = {}
        self.moment = 0

    def _now(self) -> int:
        self.moment += 1
        return self.moment

    def _held(self, claim: Claim) -> list[str]:
        """What a cohort still holds."""
        ids = [run.id for run in claim.runs]
        return [i for i in ids if i in self.runs and self.runs[i].cohort_id == claim.cohort_id and self.runs[i].is_held]

    def _give_up(self, run: Expected, otherwise: RunStatus) -> RunStatus:
        """What becomes of a held run that is taken from its worker."""
        run.status = {CANCELLING: CANCELLED, PAUSING: PAUSED}.get(run.status, otherwise)
        if run.status in (QUEUED, PAUSED):
            run.cohort_id = None
        return run.status

    # ── what must hold at any time ───────────────────────────────────────────────────────────────

    @invariant()
    def sql_says_what_the_model_says(self) -> None:
        with self.database.read() as session:
            found = {run.id: run for run in session.scalars(select(Run))}
            assert found.keys() == self.runs.keys()
            steps: dict[str, list[int]] = {}
            for run_id, step in session.execute(
                select(CheckpointRow.run_id, Checkpoint.step).join(Checkpoint).order_by(Checkpoint.step)
            ):
                steps.setdefault(run_id, []).append(step)
            bare = select(func.count()).where(
                ~select(CheckpointRow).where(CheckpointRow.checkpoint_id == Checkpoint.id).exists()
            )
            assert session.scalar(bare.select_from(Checkpoint)) == 0, "a checkpoint is of use to somebody"
        for run_id, expected in self.runs.items():
            run = found[run_id]
            told = (run.status, run.attempt, run.crashes, run.most_together, run.resume_step, run.total_steps)
            assert told == (
                expected.status,
                expected.attempt,
                expected.crashes,
                expected.most_together,
                expected.resume_step,
                expected.steps,
            )
            assert steps.get(run_id, []) == expected.saved
            assert (run.finished_at is not None) == expected.status.is_terminal
            assert (run.worker_id is not None) == expected.is_held or expected.status.is_terminal
            assert not expected.is_held or run.cohort_id == expected.cohort_id
            assert run.crashes <= MAX_CRASHES + 1

    # ── owners ───────────────────────────────────────────────────────────────────────────────────

    @rule(seeds=st.integers(1, 4), kind=st.sampled_from(["adam", "sgd"]))
    def submit(self, seeds: int, kind: str) -> None:
        job_id = submit(self.database, seeds=seeds, optimizer=kind)
        moment = self._now()
        with self.database.read() as session:
            runs = session.scalars(select(Run).where(Run.job_id == job_id).order_by(Run.id)).all()
        for place, run in enumerate(runs):
            self.runs[run.id] = Expected(job_id, (moment, place), kind)

    def _ask(self, data: st.DataObject, action: Callable[[Session, str], object], name: str) -> list[Expected] | None:
        """Ask for something of some job; its runs, or None if the model says that it cannot be done."""
        job_id = data.draw(st.sampled_from(sorted({run.job_id for run in self.runs.values()})))
        of_job = [run for run in self.runs.values() if run.job_id == job_id]
        standing = {run.status for run in of_job}
        may = {
            "cancel": bool(standing - {SUCCEEDED, FAILED, CANCELLED}),
            "pause": bool(standing & {QUEUED, RUNNING, PAUSING, PAUSED}),
            "resume": bool(standing & {PAUSING, PAUSED}),
            "retry": bool(standing & {FAILED, CANCELLED}),
            "delete": standing <= {SUCCEEDED, FAILED, CANCELLED},
            "extend": standing <= {SUCCEEDED, FAILED, CANCELLED} and SUCCEEDED in standing,
        }[name]
        try:
            commit(self.database, action, job_id)
        except IllegalAction:
            assert not may
            return None
        assert may
        return of_job

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        for run in self._ask(data, owner.cancel, "cancel") or ():
            run.status = {
                QUEUED: CANCELLED,
                PAUSED: CANCELLED,
                RUNNING: CANCELLING,
                PAUSING: CANCELLING,
            }.get(run.status, run.status)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        for run in self._ask(data, owner.pause, "pause") or ():
            run.status = {QUEUED: PAUSED, RUNNING: PAUSING}.get(run.status, run.status)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        runs = self._ask(data, owner.resume, "resume") or ()
        for run in runs:
            run.status = RUNNING if run.status is PAUSING else run.status
        self._queue(runs, PAUSED)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        runs = self._ask(data, owner.retry, "retry") or ()
        for run in runs:
            if run.status in (FAILED, CANCELLED):
                run.crashes, run.most_together = 0, None
        self._queue(runs, FAILED, CANCELLED)

    def _queue(self, runs: Sequence[Expected], *standing: RunStatus) -> None:
        moment = self._now()
        for run in runs:
            if run.status in standing:
                run.status, run.cohort_id, run.order = QUEUED, None, (moment, run.order[1])

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        gone = self._ask(data, owner.delete_job, "delete")
        if gone:
            self.runs = {run_id: run for run_id, run in self.runs.items() if run not in gone}

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        def to_twice(session: Session, job_id: str) -> None:
            job = session.get_one(Job, job_id)
            spec = JobSpec.model_validate(job.spec)
            longer = owner.extended(spec, Budget(steps=2 * plan(spec).steps))
            owner.extend(session, job, longer, plan(longer))

        runs = self._ask(data, to_twice, "extend") or ()
        for run in runs:
            run.steps *= 2
            # The record is spelled out now, so they share no cohort with whoever was submitted with as many steps.
            run.kind = run.kind.removesuffix(EXTENDED) + EXTENDED
            if run.status is SUCCEEDED:
                run.crashes, run.most_together = 0, None
        self._queue(runs, SUCCEEDED)

    # ── workers ──────────────────────────────────────────────────────────────────────────────────

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        found = commit(self.database, lifecycle.claim, "worker", "cpu", lambda _: limit)
        waiting = sorted((run for run in self.runs.values() if run.status is QUEUED), key=lambda run: run.order)
        assert (found is not None) == bool(waiting)
        if found is None:
            return
        head = self.runs[found.runs[0].id]
        assert head.order[0] == waiting[0].order[0], "the one that has waited for longest is the head"
        company = [run for run in waiting if run.key == head.key]
        most = min(limit, head.most_together or limit)
        assert len(found.runs) == min(most, len(company))
        assert found.resume_step == head.resume_step
        for claimed in found.runs:
            run = self.runs[claimed.id]
            assert run in company
            run.status, run.attempt, run.cohort_id = RUNNING, run.attempt + 1, found.cohort_id
            assert claimed.attempt == run.attempt
        self.claims.append(found)
        self.cohort_sizes[found.cohort_id] = len(found.runs)

    def _claimed(self, data: st.DataObject) -> tuple[ClaimedRun, Expected | None]:
        """A run under some attempt; None where the model says that this attempt is over."""
        claimed = data.draw(st.sampled_from([run for found in self.claims for run in found.runs]))
        run = self.runs.get(claimed.id)
        return claimed, run if run is not None and run.attempt == claimed.attempt and run.is_held else None

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), status=st.sampled_from([SUCCEEDED, SUCCEEDED, FAILED, CANCELLED]))
    def finish(self, data: st.DataObject, status: RunStatus) -> None:
        claimed, run = self._claimed(data)
        may = run is not None and (status is not CANCELLED or run.status is CANCELLING)
        assert commit(self.database, lifecycle.finish, claimed.id, claimed.attempt, status, **ENDING) == may
        if run is not None and may:
            run.status = status

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        claimed, run = self._claimed(data)
        released = commit(self.database, lifecycle.release, claimed.id, claimed.attempt)
        assert released == (None if run is None else self._given_back(run, QUEUED))

    def _given_back(self, run: Expected, otherwise: RunStatus) -> RunStatus:
        status = self._give_up(run, otherwise)
        if status is QUEUED:
            run.order = (self._now(), run.order[1])
        return status

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        claimed, run = self._claimed(data)
        size = self.cohort_sizes[run.cohort_id] if run is not None and run.cohort_id else 0
        lost = commit(self.database, crashes.return_lost, claimed.id, claimed.attempt)
        if run is None:
            assert lost is None
            return
        before = run.crashes + 1
        if run.status is PAUSING and before > MAX_CRASHES:
            run.status, run.crashes = FAILED, before
        else:
            counts = run.status is RUNNING
            assert lost is not None
            self._given_back(run, QUEUED if before <= MAX_CRASHES else FAILED)
            if counts:
                run.crashes = before
                if run.status is QUEUED and before >= MAX_CRASHES - 1:
                    run.most_together = 1 if before == MAX_CRASHES else max(1, size // crashes.PARTS)
        assert lost == run.status

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def break_down(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        holding = self._held(claim)
        moved = commit(self.database, crashes.break_down, claim.cohort_id, StatusReason.SEGFAULT, "signal 11")
        assert moved.keys() == set(holding)
        for run_id in holding:
            run = self.runs[run_id]
            if len(holding) == 1:
                run.status = CANCELLED if run.status is CANCELLING else FAILED
            else:
                was_running = run.status is RUNNING
                self._given_back(run, QUEUED)
                if was_running:
                    run.most_together = max(1, len(holding) // crashes.PARTS)
            assert moved[run_id] == run.status

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), further=st.integers(1, 30))
    def save(self, data: st.DataObject, further: int) -> None:
        """A checkpoint of all that a cohort began with: what it no longer holds must not be touched."""
        claim = data.draw(st.sampled_from(self.claims))
        holding = self._held(claim)
        step = max([claim.resume_step, *(self.runs[run_id].resume_step for run_id in holding)]) + further
        file = CheckpointFile(f"checkpoints/{claim.cohort_id}/{step}", 1, "0" * 64)
        unneeded = commit(
            self.database, checkpoints.point, claim.cohort_id, step, file, [run.id for run in claim.runs], KEPT
        )
        assert (file.storage_key in unneeded) == (not holding)
        for run_id in holding:
            run = self.runs[run_id]
            run.saved = [*run.saved, step][-KEPT:]
            run.crashes = 0

    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        """A checkpoint turns out to be damaged."""
        with self.database.read() as session:
            found = session.execute(select(Checkpoint.id, Checkpoint.step).order_by(Checkpoint.id)).all()
            if not found:
                return
            checkpoint_id, step = data.draw(st.sampled_from([(row.id, row.step) for row in found]))
            whose = session.scalars(
                select(CheckpointRow.run_id).where(CheckpointRow.checkpoint_id == checkpoint_id)
            ).all()
        assert commit(self.database, checkpoints.discard, checkpoint_id) is not None
        assert commit(self.database, checkpoints.discard, checkpoint_id) is None
        for run_id in whose:
            self.runs[run_id].saved.remove(step)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        commit(self.database, lifecycle.renew, data.draw(st.sampled_from(self.claims)).cohort_id)


def test_whatever_is_called_in_whatever_order_runs_do_what_their_model_says(database: Database) -> None:
    Life.database = database
    run_state_machine_as_test(Life, settings=examples(max_examples=40, stateful_step_count=40, deadline=None))
