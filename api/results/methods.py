"""What the runs of one seed come to together, one function for each evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from api.results import decompositions
from api.results.measures import Measure, of_rows, stacked, votes
from api.results.predictions import Floats, Predictions
from models import boosting

LEAVE_ONE_OUT_SHARE = 1 - np.exp(-1)
"""0.632: the share of the rows that a bootstrap sample holds, in the limit."""


@dataclass(frozen=True)
class Outcome:
    """Numbers about the whole, curves over the number of members, and for each member its score and weight."""

    members: list[float]
    """Of each member on the rows that validate it."""
    scores: Mapping[str, float]
    series: Mapping[str, list[float]] = field(default_factory=dict)
    weights: list[float] | None = None
    """By which each member counts, where they differ."""


def of_members(members: Sequence[Predictions], measure: Measure) -> list[float]:
    """Each member's score on its validation rows."""
    return [float(of_rows(m.outputs, m.targets, measure)[m.validates].mean()) for m in members]


def folds(members: Sequence[Predictions], measure: Measure) -> Outcome:
    """Cross-validation: the mean over the folds, and the score of all predictions for rows that did not train."""
    scores = of_members(members, measure)
    pooled = np.concatenate([of_rows(m.outputs, m.targets, measure)[m.validates] for m in members])
    summary = {"folds": float(np.mean(scores)), "pooled": float(pooled.mean())}
    if len(scores) > 1:
        summary["folds_standard_deviation"] = float(np.std(scores, ddof=1))
    return Outcome(scores, summary)


def _of_undrawn(by_row: Floats, members: Sequence[Predictions]) -> float | None:
    """The mean over rows of the mean over the members that did not train on them (leave-one-out bootstrap)."""
    undrawn = np.stack([(m.drawn == 0) & ~m.validates for m in members])
    times = undrawn.sum(0)
    rows = times > 0
    if not rows.any():
        return None
    return float(((by_row * undrawn).sum(0)[rows] / times[rows]).mean())


def bootstrap(members: Sequence[Predictions], measure: Measure) -> Outcome:
    """The .632 estimate (Efron 1983), and what makes the replicates wrong on the rows that validate all of them.

    "training" is the mean over the replicates of each one's score on the rows that it drew, as often as it drew them;
    "out_of_bag" is the leave-one-out bootstrap; "point_632" is 0.368 of the one and 0.632 of the other.
    """
    outputs, first = stacked(members), members[0]
    by_row = of_rows(outputs, first.targets, measure)
    scores = of_members(members, measure)
    training = float(np.mean([np.average(one, weights=m.drawn) for one, m in zip(by_row, members, strict=True)]))
    summary = {"members": float(np.mean(scores)), "training": training}
    if (undrawn := _of_undrawn(by_row, members)) is not None:
        summary["out_of_bag"] = undrawn
        summary["point_632"] = (1 - LEAVE_ONE_OUT_SHARE) * training + LEAVE_ONE_OUT_SHARE * undrawn
    seen, targets = outputs[:, first.validates], first.targets[first.validates]
    if measure == "accuracy":
        for decompose in decompositions.OF_CLASSES:
            summary |= decompose(seen, targets)
    else:
        truth = None if first.truth is None else first.truth[first.validates]
        summary |= decompositions.of_squared_error(seen[..., 0], targets, truth)
    return Outcome(scores, summary)


def bagging(members: Sequence[Predictions], measure: Measure) -> Outcome:
    """The ensemble of equals (Breiman 1996): by the mean of what they say, and for classes by their votes.

    "out_of_bag" judges each training row by the mean of those members alone that did not train on it.
    """
    outputs, first = stacked(members), members[0]
    scores = of_members(members, measure)

    def growing(said: Floats) -> list[float]:
        sizes = np.arange(1, len(said) + 1)[:, None, None]
        ensembles = said[:, first.validates].cumsum(0) / sizes
        return [float(s) for s in of_rows(ensembles, first.targets[first.validates], measure).mean(1)]

    series = {"mean": growing(outputs)} | ({"vote": growing(votes(outputs))} if measure == "accuracy" else {})
    summary = {"members": float(np.mean(scores))} | {name: curve[-1] for name, curve in series.items()}
    undrawn = np.stack([(m.drawn == 0) & ~m.validates for m in members])
    rows = undrawn.any(0)
    if rows.any():
        means = (outputs * undrawn[..., None]).sum(0)[rows] / undrawn.sum(0)[rows, None]
        summary["out_of_bag"] = float(of_rows(means, first.targets[rows], measure).mean())
    return Outcome(scores, summary, series)


def boosted(members: Sequence[Predictions], measure: Measure, shrinkage: float) -> Outcome:
    """The ensemble after each round, on the rows that validate ("ensemble") and on those that train ("training").

    For values, a member's own score is that of the sum up to it: alone it only knows what was left to fit.
    """
    outputs, first = stacked(members), members[0]
    trains = ~first.validates
    weights = None
    if measure == "accuracy":
        says, _ = boosting.samme(outputs[:, trains], first.targets[trains], shrinkage)
        ensembles = (says[:, None, None] * votes(outputs)).cumsum(0)
        weights = [float(say) for say in says]
    else:
        ensembles = boosting.additive(outputs, shrinkage)
    by_row = of_rows(ensembles, first.targets, measure)
    series = {
        "ensemble": [float(s) for s in by_row[:, first.validates].mean(1)],
        "training": [float(s) for s in by_row[:, trains].mean(1)],
    }
    scores = of_members(members, measure) if measure == "accuracy" else series["ensemble"]
    summary = {"members": float(np.mean(scores))} if measure == "accuracy" else {}
    return Outcome(scores, summary | {name: curve[-1] for name, curve in series.items()}, series, weights)
