"""The estimate of the files of a run, against the files of real runs."""

from math import inf
from pathlib import Path
from typing import Any

import pytest

from models.spec.job import JobSpec
from models.spec.plan import plan
from models.spec.run_files import run_bytes
from models.storage import Storage
from models.tables import PREDICTIONS, WEIGHTS
from tests.worker.training.conftest import Train
from worker import artifacts, checkpoints
from worker.training.boundary import Saving

SPEC: dict[str, Any] = {
    "dataset": "digits",
    "network": {"kind": "mlp", "hidden": [64, 64]},
    "optimizer": "adam",
    "budget": {"steps": 4},
}


def stored(train_runs: Train, folder: Path, spec: JobSpec) -> int:
    """Train one run of a spec, and return the bytes of the files that it leaves."""
    storage = Storage(str(folder))
    heard = train_runs(spec, [0], saving=Saving(inf))
    ending, (_, saved) = heard.endings[0], heard.saves[-1]
    size = checkpoints.write(storage, "cohort", saved, [{}]).size
    for name, tensors in ((WEIGHTS, ending.weights), (PREDICTIONS, ending.predictions)):
        if tensors is not None:
            size += artifacts.store(storage, "run", 1, name, tensors).size
    return size


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd"},
        {"optimizer": "momentum"},
        {"optimizer": {"kind": "adam", "amsgrad": True}},
        {"optimizer": {"kind": "sam", "base": "adam"}},
        {"optimizer": "muon"},
        {"optimizer": {"kind": "lbfgs", "history": 2}},
        {"network": "cnn"},
        {"regularizers": ["batch_norm", {"kind": "early_stopping", "restore_best": True}]},
        {"evaluation": {"kind": "k_fold", "folds": 3}},
        {"evaluation": {"kind": "bagging", "ensemble": 2}, "dataset": "sine"},
    ],
    ids=str,
)
def test_the_estimate_covers_the_files_of_a_run_and_little_more(
    train_runs: Train, tmp_path: Path, changes: dict[str, Any]
) -> None:
    spec = JobSpec.model_validate(SPEC | changes)
    size = stored(train_runs, tmp_path, spec)
    assert size <= run_bytes(spec, plan(spec)) < 1.5 * size
