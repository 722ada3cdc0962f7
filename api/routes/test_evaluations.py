"""The sealed test: opened once for a job, on record for good."""

from collections.abc import Sequence
from itertools import groupby
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Body
from pydantic import Field
from safetensors.numpy import load
from sqlalchemy import select

from api.auth.audit import record
from api.dependencies import ReadService, SubmitService
from api.errors import ILLEGAL_ACTION, NOT_FOUND, NOT_JSON, TOO_LARGE, Refusal, declared
from api.http.limits import JsonRoute
from api.measurements import test_evaluations
from api.pages import PageAfter, PageLimit, listed
from api.results.collect import measure_of, over_seeds
from api.results.sealed import ensemble_score
from api.results.stored import Stored, content, read_by_seed, stored
from api.routes.jobs import find_job
from models import analysing, answers
from models.spec.component import SpecModel
from models.spec.evaluation import Bagging, Boosting
from models.spec.job import JobSpec, Name
from models.status import RunStatus
from models.storage import Storage
from models.tables import PREDICTIONS, TEST_PREDICTIONS, Run, TestLook

router = APIRouter(prefix="/v1", tags=["sealed test"], route_class=JsonRoute)


class Opening(SpecModel):
    """Who looks at the sealed rows, and what for."""

    opened_by: Name = ""
    """By default the owner that the key acts for."""
    reason: str = Field("", max_length=1_000)


_UNSAID = Opening()


@router.post(
    "/jobs/{job_id}/test-evaluation",
    status_code=202,
    summary="Open a job's sealed test",
    responses=declared(NOT_FOUND, ILLEGAL_ACTION, TOO_LARGE, NOT_JSON),
)
def open_test(
    job_id: str, service: SubmitService, opening: Annotated[Opening, Body()] = _UNSAID
) -> answers.TestEvaluation:
    """Measure the job's networks on the rows that were sealed away, and put on record that somebody looked.

    Once all its runs have ended. A job that was opened before keeps its first record.
    """
    with service.database.write() as session:
        job = find_job(session, job_id, for_update=True)
        spec = JobSpec.model_validate(job.spec)
        if not spec.evaluation.test:
            raise Refusal(ILLEGAL_ACTION, "this job sealed no rows away (evaluation.test is 0): there is no test")
        statuses = [RunStatus(status) for status in session.scalars(select(Run.status).where(Run.job_id == job_id))]
        if not all(status.is_terminal for status in statuses):
            raise Refusal(ILLEGAL_ACTION, "this job is still under way: its test is opened once every run has ended")
        if RunStatus.SUCCEEDED not in statuses:
            raise Refusal(ILLEGAL_ACTION, "no run of this job has succeeded: there is nothing to test")
        opened_by = opening.opened_by or service.principal.owner
        look = analysing.open_test(session, job, spec, opened_by, opening.reason)
        record(session, service.principal, "test_opened", job, opened_by=opened_by, reason=opening.reason)
        session.flush()
        (answer,) = test_evaluations(session, [look])
    service.relay.nudge()
    return answer


@router.get("/jobs/{job_id}/test-evaluation", summary="Get a job's test scores", responses=declared(NOT_FOUND))
def get_test_evaluation(job_id: str, service: ReadService) -> answers.TestEvaluation:
    """What the sealed rows say of a job that was opened, and how many looks there had been.

    Scores are those of single networks; of an ensemble, what its members come to together stands beside them.
    """
    with service.database.read() as session:
        spec = JobSpec.model_validate(find_job(session, job_id).spec)
        look = session.scalars(select(TestLook).where(TestLook.job_id == job_id)).one_or_none()
        if look is None:
            raise Refusal(NOT_FOUND, "the test of this job is sealed: POST here opens it, once and on record")
        (answer,) = test_evaluations(session, [look])
        files, sealed = (stored(session, job_id, name) for name in (PREDICTIONS, TEST_PREDICTIONS))
    of_ensembles = _ensembles(spec, files, sealed, service.storage)
    return answer.model_copy(update={"scores": answer.scores | of_ensembles})


@router.get("/test-ledger", summary="List every look at sealed rows", responses=declared())
def list_looks(
    service: ReadService, limit: PageLimit = 50, after: PageAfter = ""
) -> answers.Page[answers.TestEvaluation]:
    """Who looked at which job's sealed rows, newest first; looks at jobs that were deleted, too."""
    with service.database.read() as session:
        return listed(
            session,
            select(TestLook),
            TestLook.opened_at,
            TestLook.id,
            after=after,
            limit=limit,
            items=lambda looks: test_evaluations(session, looks),
        )


def _ensembles(
    spec: JobSpec, files: Sequence[Stored], sealed: Sequence[Stored], storage: Storage
) -> dict[str, answers.Estimate]:
    """Over the seeds of which all members were measured."""
    evaluation = spec.evaluation
    if not isinstance(evaluation, Bagging | Boosting):
        return {}
    measure, scores = measure_of(spec), []
    by_seed = {seed: list(rows) for seed, rows in groupby(sealed, key=lambda row: row.seed)}
    for seed, members in read_by_seed(files, storage, in_order=evaluation.one_after_another):
        rows = by_seed.get(seed, [])
        if len(members) == len(rows) == evaluation.members:
            said = [load(content(storage, row.key)) for row in rows]
            outputs = np.stack([one["outputs"] for one in said]).astype(np.float64)
            scores.append(ensemble_score(evaluation, measure, members, outputs, said[0]["targets"]))
    name = "ensemble_test_accuracy" if measure == "accuracy" else "ensemble_test_rmse"
    return {name: over_seeds(scores)} if scores else {}
