"""What was measured of trained networks, for comparisons: their analyses, and the tests that were opened."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.comparison.measured import JobTestScores, RunAnalysis
from api.routes.test_evaluations import test_evaluations
from models.analysing import SEALED_TEST
from models.status import RunStatus
from models.tables import Analysis, Run, TestLook


class Measurements(NamedTuple):
    """Of the runs of some jobs, and of those of these jobs that were opened; of the others no test is told."""

    analyses: list[RunAnalysis]
    test_scores: list[JobTestScores]


def measurements(session: Session, job_ids: Sequence[str]) -> Measurements:
    """What is measured so far, by job and position."""
    rows = session.execute(
        select(Run.job_id, Run.id, Run.seed, Run.member, Analysis.kind, Analysis.options, Analysis.values)
        .join(Run, Run.id == Analysis.run_id)
        .where(Run.job_id.in_(job_ids), Analysis.status == RunStatus.SUCCEEDED, Analysis.kind != SEALED_TEST)
        .order_by(Run.job_id, Run.position, Analysis.queued_at, Analysis.id)
    )
    analyses = [
        RunAnalysis(
            job_id=row.job_id,
            run_id=row.id,
            seed=row.seed,
            member=row.member,
            kind=row.kind,
            options=row.options,
            values=row.values or {},
        )
        for row in rows
    ]
    looks = session.scalars(select(TestLook).where(TestLook.job_id.in_(job_ids)).order_by(TestLook.opened_at)).all()
    opened = test_evaluations(session, looks)
    return Measurements(
        analyses,
        [
            JobTestScores(
                job_id=one.job_id,
                look=one.look,
                looks_at_dataset=one.looks_at_dataset,
                runs=one.evaluated,
                scores=one.scores,
            )
            for one in opened
        ],
    )


def measurements_mark(session: Session, job_ids: Sequence[str]) -> str:
    """A text that changes with them."""
    of_jobs = select(Run.id).where(Run.job_id.in_(job_ids))
    measured = select(func.count(), func.max(Analysis.finished_at)).where(
        Analysis.run_id.in_(of_jobs), Analysis.status == RunStatus.SUCCEEDED
    )
    looks = select(func.count()).select_from(TestLook).where(TestLook.job_id.in_(job_ids))
    count, last = session.execute(measured).one()
    return f"{count} {last} {session.scalar(looks)}"
