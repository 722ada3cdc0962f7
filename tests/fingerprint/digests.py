"""Train the runs of a case, and hash what comes out of them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec.evaluation import Boosting
from models.spec.job import JobSpec, digest
from models.spec.plan import plan
from models.spec.uploads import Stored
from tests.fingerprint.case import Case
from tests.fingerprint.uploads import Uploads, table_rows
from tests.worker.training.conftest import Heard
from worker.rounds import round_after
from worker.training.analyses import analyse, measure_sealed
from worker.training.analyses.networks import TrainedRun
from worker.training.boundary import Ending
from worker.training.cost import cohort_limit
from worker.training.datasets import open_rows
from worker.training.loop import train
from worker.training.predictor import Predictor
from worker.training.randomness import Member
from worker.training.splits import Round
from worker.training.stored import StoredData

MEMORY_BYTES = 1 << 31
PREDICTED_ROWS = 64
MAX_TEST_ROWS = 1_000
"""Test predictions are made in float64, which takes too long for the test rows of a published data set."""

Digests = dict[str, str]


@dataclass(frozen=True)
class Run:
    """One trained run of a case."""

    spec: JobSpec
    member: Member
    round: Round | None
    heard: Heard
    row: int

    @property
    def ending(self) -> Ending:
        return self.heard.endings[self.row]


def fingerprint(case: Case, uploads: Uploads) -> Digests:
    """Train a case, and return the SHA-256 of the weights, the history and the predictions of its runs.

    If the case has analyses, their findings are hashed, too.

    Raises:
        RuntimeError: if a compilation fails.

    """
    dataset = case.specs[0].dataset
    stored = uploads.open(dataset) if isinstance(dataset, Stored) else None
    runs = _train(case, stored)
    digests = {
        "weights": digest([_weights(run) for run in runs]),
        "history": digest([_history(run) for run in runs]),
        "predictions": digest([[_predictions(run, stored) for run in runs], _test_predictions(case, runs, stored)]),
    }
    return digests | ({"analyses": digest(_findings(case, runs, stored))} if case.analyses else {})


def _train(case: Case, stored: StoredData | None) -> list[Run]:
    members = [(spec, Member(*run)) for spec in case.specs for run in spec.runs]
    evaluation = case.specs[0].evaluation
    if not isinstance(evaluation, Boosting):
        return _train_together(case, [(spec, member, None) for spec, member in members], stored)
    runs: list[Run] = []
    for number in range(evaluation.members):
        round_members = [
            (spec, member, _round_after(runs, spec, member, evaluation))
            for spec, member in members
            if member.number == number
        ]
        runs += _train_together(case, round_members, stored)
    return runs


def _round_after(runs: Sequence[Run], spec: JobSpec, member: Member, evaluation: Boosting) -> Round | None:
    earlier = [run for run in runs if run.spec == spec and run.member.seed == member.seed]
    predictions = [run.ending.predictions for run in earlier if run.ending.predictions is not None]
    return round_after(predictions, spec.dataset.shape.task, evaluation) if predictions else None


def _train_together(
    case: Case, members: Sequence[tuple[JobSpec, Member, Round | None]], stored: StoredData | None
) -> list[Run]:
    """Train these runs in cohorts as large as a worker's."""
    limit = cohort_limit(case.specs[0], device="cpu", threads=1, memory_bytes=MEMORY_BYTES)
    runs = []
    for start in range(0, len(members), limit):
        specs, own, rounds = zip(*members[start : start + limit], strict=True)
        heard = Heard()
        train(specs, own, heard, dict, rounds=rounds, stored=stored, memory_bytes=1 if case.from_disk else None)
        if reason := heard.modes[0].reason:
            raise RuntimeError(reason)
        runs += [Run(specs[row], own[row], rounds[row], heard, row) for row in range(len(own))]
    return runs


def _weights(run: Run) -> Any:
    weights = run.ending.weights
    return [None if weights is None else _hashed(weights), run.ending.description]


def _history(run: Run) -> Any:
    points = {
        metric: [[step, value.hex()] for step, value in points]
        for metric, points in run.heard.series[run.row].items()
        if metric != "train_seconds"
    }
    return [run.ending.result, run.ending.step, points, run.heard.snapshots.get(run.row)]


def _predictions(run: Run, stored: StoredData | None) -> Any:
    """Return what the run predicts for its own rows, if its evaluation combines runs, and for raw rows."""
    ending = run.ending
    if ending.weights is None:
        return None
    rows = open_rows(run.spec, stored).cells(np.arange(PREDICTED_ROWS)).tolist()
    if stored is not None and stored.description.layout == "table":
        rows = table_rows(PREDICTED_ROWS)
    predictor = Predictor(run.spec, ending.weights, json.dumps(ending.description) if ending.description else None)
    return [_hashed(ending.predictions or {}), _hashed({"outputs": predictor.predict(rows).outputs})]


def _test_predictions(case: Case, runs: Sequence[Run], stored: StoredData | None) -> Any:
    if not 0 < plan(case.specs[0]).test_rows <= MAX_TEST_ROWS:
        return None
    return [
        [_exact(one.findings.values), _hashed(one.arrays)] for one in measure_sealed(**_analysed(case, runs, stored))
    ]


def _findings(case: Case, runs: Sequence[Run], stored: StoredData | None) -> Any:
    subjects = _analysed(case, runs, stored)
    return [
        [_exact(findings.values), findings.details]
        for analysis in case.analyses
        for findings in analyse(analysis, **subjects, other=subjects["weights"][-1])
    ]


def _analysed(case: Case, runs: Sequence[Run], stored: StoredData | None) -> dict[str, Any]:
    """Return the arguments of an analysis of all runs that have weights."""
    trained = [(run, run.ending.weights) for run in runs if run.ending.weights is not None]
    return {
        "specs": [run.spec for run, _ in trained],
        "members": [run.member for run, _ in trained],
        "weights": [TrainedRun(weights) for _, weights in trained],
        "rounds": [run.round for run, _ in trained],
        "stored": stored,
        "streams": case.from_disk,
    }


def _hashed(arrays: Mapping[str, NDArray[Any]]) -> Any:
    return {
        name: [str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest()]
        for name, array in arrays.items()
    }


def _exact(values: Mapping[str, float]) -> dict[str, str]:
    """Return numbers as text without rounding; JSON has no NaN."""
    return {name: value.hex() for name, value in values.items()}
