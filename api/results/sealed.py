"""What the members of an ensemble come to together on the sealed rows, once these were opened."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from api.results.measures import Measure, of_rows, stacked, votes
from api.results.predictions import Floats, Predictions
from models import boosting
from models.spec.evaluation import Bagging, Boosting


def ensemble_score(
    evaluation: Bagging | Boosting,
    measure: Measure,
    members: Sequence[Predictions],
    outputs: Floats,
    targets: NDArray[np.float64] | NDArray[np.int64],
) -> float:
    """The accuracy, or the root of the mean squared error, of an ensemble on R sealed rows.

    Args:
        evaluation: how its members were made.
        measure: what its members were measured by.
        members: what they say of the rows that are not sealed; boosting takes their weights from there.
        outputs: what they say of the sealed rows, (M, R, O): class probabilities, or values in their own units.
        targets: classes or values, (R,).

    """
    match evaluation:
        case Bagging():
            together: Floats = outputs.mean(0)
        case Boosting() if measure == "accuracy":
            first = members[0]
            trains = ~first.validates
            says, _ = boosting.samme(stacked(members)[:, trains], first.targets[trains], evaluation.shrinkage)
            together = (says[:, None, None] * votes(outputs)).sum(0)
        case Boosting():
            together = boosting.additive(outputs, evaluation.shrinkage)[-1]
    score = float(of_rows(together, targets, measure).mean())
    return score if measure == "accuracy" else score**0.5
