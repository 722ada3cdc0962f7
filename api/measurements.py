"""What was measured of trained networks, for comparisons: their analyses, and the tests that were opened."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.comparison.measured import JobTestScores, RunAnalysis
from api.results.collect import over_seeds
from models import analysing, answers
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


def test_evaluations(session: Session, looks: Sequence[TestLook]) -> list[answers.TestEvaluation]:
    """The looks with what was measured so far."""
    rows = session.execute(
        select(Run.job_id, Run.seed, Analysis.status, Analysis.status_detail, Analysis.values)
        .join(Run, Run.id == Analysis.run_id)
        .where(Run.job_id.in_([look.job_id for look in looks]), Analysis.kind == SEALED_TEST)
    ).all()
    found = []
    for look in looks:
        mine = [row for row in rows if row.job_id == look.job_id]
        measured = [(row.seed, row.values) for row in mine if row.status == RunStatus.SUCCEEDED]
        counted = analysing.looks_until(session, look)
        found.append(
            answers.TestEvaluation(
                job_id=look.job_id,
                job_name=look.job_name,
                spec_hash=look.spec_hash,
                experiment=look.experiment,
                look=counted.of_experiment,
                looks_at_dataset=counted.at_dataset,
                opened_by=look.opened_by,
                reason=look.reason,
                opened_at=look.opened_at,
                runs=len(mine),
                evaluated=len(measured),
                failures=[row.status_detail or "" for row in mine if row.status == RunStatus.FAILED],
                is_terminal=all(RunStatus(row.status).is_terminal for row in mine),
                scores=_over_seeds(measured),
            )
        )
    return found


def _over_seeds(measured: Sequence[tuple[int, dict[str, float | None]]]) -> dict[str, answers.Estimate]:
    scores: dict[str, dict[int, list[float]]] = {}
    for seed, values in measured:
        for name, value in values.items():
            if value is not None:
                scores.setdefault(name, {}).setdefault(seed, []).append(value)
    return {
        name: over_seeds([float(np.mean(values)) for values in by_seed.values()]) for name, by_seed in scores.items()
    }


def measurements_mark(session: Session, job_ids: Sequence[str]) -> str:
    """A text that changes with them."""
    of_jobs = select(Run.id).where(Run.job_id.in_(job_ids))
    measured = select(func.count(), func.max(Analysis.finished_at)).where(
        Analysis.run_id.in_(of_jobs), Analysis.status == RunStatus.SUCCEEDED
    )
    looks = select(func.count()).select_from(TestLook).where(TestLook.job_id.in_(job_ids))
    count, last = session.execute(measured).one()
    return f"{count} {last} {session.scalar(looks)}"
