"""Measures trained networks: claims an analysis, reads the weights back, writes down what came out.

Runs of a job are measured together; if that fails, one by one, so that a network that cannot be measured fails alone.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from pydantic import TypeAdapter
from safetensors import SafetensorError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models import analysing
from models.analysing import SEALED_TEST, AnalysisClaim, ClaimedAnalysis
from models.database import Database
from models.lifecycle import ClaimedRun
from models.settings import Settings
from models.spec.analyses import LaterAnalysis, Line
from models.spec.job import JobSpec
from models.storage import Storage
from models.tables import DATASET, TEST_PREDICTIONS, WEIGHTS, Artifact
from worker import artifacts
from worker.artifacts import Tensors
from worker.rounds import round_before
from worker.stored_data import bring, describe

if TYPE_CHECKING:
    from worker.training.analyses.networks import TrainedRun

RETRY_SECONDS = 0.5

log = structlog.get_logger()

_ANALYSIS: TypeAdapter[LaterAnalysis] = TypeAdapter(LaterAnalysis)


class _Measured(NamedTuple):
    """What came out for one run, and the file that it leaves."""

    values: Mapping[str, float]
    details: Mapping[str, Any]
    file: Artifact | None = None


class Analyst:
    """Measures what waits to be measured, for one training process."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        config: Settings,
        worker_id: str,
        memory_bytes: int,
        threads_for: Callable[[JobSpec], int],
        draining: Callable[[], bool],
    ) -> None:
        self._database = database
        self._storage = storage
        self._config = config
        self._worker_id = worker_id
        self._memory_bytes = memory_bytes
        self._threads_for = threads_for
        self._draining = draining

    def analyse_next(self, mark_busy: Callable[[Session], None], *, beside_runs_on: str | None = None) -> bool:
        """Make the measurement that waits first. False where none waits, or it is the turn of runs on a device."""
        with self._database.write() as session:
            claim = analysing.claim(session, self._worker_id, beside_runs_on=beside_runs_on)
            if claim is not None:
                mark_busy(session)
        if claim is None:
            return False
        log.info("analysis.claimed", kind=claim.kind, job_id=claim.job_id, runs=len(claim.analyses))
        self._analyse(claim, claim.analyses)
        return True

    def _analyse(self, claim: AnalysisClaim, analyses: Sequence[ClaimedAnalysis]) -> None:
        from worker.training.analyses import NotAnalysable

        try:
            weights = self._weights([one.run_id for one in analyses])
            present = [one for one in analyses if one.run_id in weights]
            measured = self._measure(claim, present, weights) if present else []
        except SQLAlchemyError as error:
            log.warning("analysis.released", kind=claim.kind, job_id=claim.job_id, error=type(error).__name__)
            for one in analyses:
                self._write(partial(analysing.release, analysis=one))
        except (NotAnalysable, FileNotFoundError) as error:
            self._fail(analyses, str(error))
        except Exception as error:  # one more analysis must not end the process that trains
            log.error("analysis.failed", kind=claim.kind, job_id=claim.job_id, exc_info=error)
            if len(analyses) > 1:
                for one in analyses:
                    self._analyse(claim, [one])
            else:
                self._fail(analyses, f"{type(error).__name__}: {error}")
        else:
            self._finish(present, measured)
            gone = [one for one in analyses if one.run_id not in weights]
            self._fail(gone, "the weights of this run are gone from storage, or damaged")

    def _weights(self, run_ids: Sequence[str]) -> dict[str, Tensors]:
        with self._database.read() as session:
            rows = session.execute(
                select(Artifact.run_id, Artifact.storage_key).where(
                    Artifact.run_id.in_(run_ids), Artifact.name == WEIGHTS
                )
            ).all()
        found = {}
        for run_id, key in rows:
            try:
                found[run_id] = artifacts.read(self._storage, key)
            except (FileNotFoundError, SafetensorError) as error:
                log.error("weights.unreadable", run_id=run_id, error=str(error))
        return found

    def _measure(
        self, claim: AnalysisClaim, analyses: Sequence[ClaimedAnalysis], weights: Mapping[str, Tensors]
    ) -> list[_Measured]:
        # torch is imported by processes that train, not by whoever reads this module.
        from worker.training.analyses import NotAnalysable, analyse, measure_sealed
        from worker.training.cost import streams
        from worker.training.randomness import Member
        from worker.training.threads import use_threads

        spec = claim.spec
        use_threads(self._threads_for(spec))
        runs = [ClaimedRun(one.run_id, one.seed, one.attempt, spec, claim.job_id, one.member) for one in analyses]
        with self._database.read() as session:
            rounds = [round_before(session, self._storage, run) for run in runs]
            uploaded = describe(session, claim.job_id)
        data: dict[str, Any] = {
            "rounds": rounds,
            "stored": bring(*uploaded, self._storage, self._config) if uploaded else None,
            "streams": streams(spec, self._memory_bytes),
        }
        specs, members = [spec] * len(runs), [Member(run.seed, run.member) for run in runs]
        trained = [_trained(weights[run.id]) for run in runs]
        if claim.kind == SEALED_TEST:
            sealed = measure_sealed(specs, members, trained, **data)
            return [
                _Measured(one.findings.values, one.findings.details, self._store(analysis, one.arrays))
                for analysis, one in zip(analyses, sealed, strict=True)
            ]
        analysis = _ANALYSIS.validate_python(claim.options)
        other = None
        if isinstance(analysis, Line):
            other = self._weights([analysis.to]).get(analysis.to)
            if other is None:
                raise NotAnalysable(f"the weights of run {analysis.to} are gone from storage, or damaged")
        findings = analyse(analysis, specs, members, trained, other=None if other is None else _trained(other), **data)
        return [_Measured(one.values, one.details) for one in findings]

    def _store(self, analysis: ClaimedAnalysis, arrays: Mapping[str, Any]) -> Artifact:
        # The attempt is the measurement's own: what two of them write never meets.
        return artifacts.store(self._storage, analysis.run_id, analysis.attempt, TEST_PREDICTIONS, arrays)

    def _finish(self, analyses: Sequence[ClaimedAnalysis], measured: Sequence[_Measured]) -> None:
        for one, result in zip(analyses, measured, strict=True):
            self._write(partial(_finish, analysis=one, measured=result))

    def _fail(self, analyses: Sequence[ClaimedAnalysis], detail: str) -> None:
        for one in analyses:
            self._write(partial(analysing.fail, analysis=one, detail=detail))

    def _write(self, action: Callable[[Session], object]) -> None:
        """Write as soon as SQL answers: whoever still lives is not taken for lost."""
        while True:
            try:
                with self._database.write() as session:
                    action(session)
                return
            except SQLAlchemyError as error:
                if self._draining():
                    raise
                log.warning("analysis.retrying", error=f"{type(error).__name__}: {error}".splitlines()[0])
                time.sleep(RETRY_SECONDS)


def _finish(session: Session, analysis: ClaimedAnalysis, measured: _Measured) -> None:
    values = {name: value if math.isfinite(value) else None for name, value in measured.values.items()}
    if analysing.finish(session, analysis, values, measured.details) and measured.file is not None:
        session.merge(measured.file)


def _trained(file: Tensors) -> "TrainedRun":
    from worker.training.analyses.networks import TrainedRun

    return TrainedRun(file.tensors, file.header.get(DATASET))
