"""What the rounds before it leave to a round of boosting: read from their predictions, as they were stored."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import boosting
from models.lifecycle import ClaimedRun
from models.spec.evaluation import Boosting
from models.spec.shape import Task
from models.storage import Storage
from models.tables import PREDICTIONS, Artifact, Run
from worker import artifacts
from worker.training.splits import Round


def round_before(session: Session, storage: Storage, run: ClaimedRun) -> Round | None:
    """What the run goes by; None for a first round, and for everything that is not boosting."""
    evaluation = run.spec.evaluation
    if not isinstance(evaluation, Boosting) or not run.member:
        return None
    keys = session.scalars(
        select(Artifact.storage_key)
        .join(Run)
        .where(Run.job_id == run.job_id, Run.seed == run.seed, Run.member < run.member, Artifact.name == PREDICTIONS)
        .order_by(Run.member)
    ).all()
    return round_after([artifacts.read(storage, key).tensors for key in keys], run.spec.dataset.shape.task, evaluation)


def round_after(predictions: Sequence[Mapping[str, NDArray[Any]]], task: Task, evaluation: Boosting) -> Round:
    """Return the next round of boosting.

    Args:
        predictions: the stored arrays of each earlier round, in order.
        task: regression, or classification.
        evaluation: the options of the boosting.

    Returns:
        Its rows, with what is left to fit (regression) or the probabilities of drawing them (classification).

    """
    outputs = np.stack([arrays["outputs"] for arrays in predictions]).astype(np.float64)
    first = predictions[0]
    if task == "regression":
        total = boosting.additive(outputs, evaluation.shrinkage)[-1]
        return Round(first["rows"], residuals=first["targets"][:, None] - total)
    trains = first["validates"] == 0
    _, shares = boosting.samme(outputs[:, trains], first["targets"][trains], evaluation.shrinkage)
    return Round(first["rows"][trains], shares=shares)
