"""Two jobs against each other: who won each pair, by how much, and whether that could be chance."""

from collections.abc import Mapping
from math import inf, isfinite, nan
from statistics import fmean
from typing import NamedTuple, TypeVar

import numpy as np

from api.comparison.history import JobHistory, RunHistory
from api.comparison.intervals import MeanInterval, mean_interval, nadeau_bengio, welch
from api.comparison.pairing import Key, grouped_by_seed, is_cross_validated, overlap, same_rows
from api.comparison.result import Method, Score, TableRow, TargetTime, Unpaired
from api.comparison.scores import Direction
from api.comparison.significance import sign_flip, sign_test, smallest_p
from models.status import StatusReason


class Outcome(NamedTuple):
    """What is known of one run's score, on a scale on which lower is better."""

    at_least: float
    exact: bool
    """The score is `at_least`. Otherwise it is only known to be worse, by nobody knows how much."""


RunOutcomes = Mapping[Key, Outcome | None]
"""Every run of a job; None where nothing is known, because the run has not ended or not by itself."""

Outcomes = Mapping[int, Outcome | None]
"""Every seed of a job, by what its runs come to."""

Place = TypeVar("Place")
"""What pairs are made on: a seed, or a seed and a fold."""

WORSE_THAN_ANY = Outcome(inf, exact=False)


def run_outcomes(job: JobHistory, row: TableRow, score: Score, better: Direction) -> RunOutcomes:
    """The scores of a job's runs as outcomes.

    A diverged run is worse than any that did not, by an unknown amount. So is a run that ended by early stopping short
    of the target: more budget would not have changed it. A run that used up its budget is only known to need more.
    Where the metric has no direction nothing is worse, and a diverged run has no outcome.
    """
    if score in ("steps_to_target", "seconds_to_target"):
        assert row.steps_to_target is not None
        budget = job.plan.steps if score == "steps_to_target" else None
        times = zip(job.runs, row.steps_to_target.runs, strict=True)
        return {(run.seed, run.member): _time(run, time, budget) for run, time in times}
    sign = -1 if better == "higher" else 1
    found: dict[Key, Outcome | None] = {}
    for run, mine in zip(job.runs, row.runs, strict=True):
        value = mine.last if score == "last" else mine.best
        if run.diverged:
            found[run.seed, run.member] = WORSE_THAN_ANY if better else None
        else:
            usable = value if mine.counted else None
            found[run.seed, run.member] = None if usable is None else Outcome(sign * usable, exact=True)
    return found


def _time(run: RunHistory, time: TargetTime, budget: int | None) -> Outcome | None:
    """In steps with the budget of steps, else in seconds: without a clock nobody knows when anything was."""
    taken, limit = (time.seconds, time.total_seconds) if budget is None else (time.steps, budget)
    match time.outcome:
        case "reached":
            return None if taken is None else Outcome(taken, exact=True)
        case "missed":
            if run.status_reason == StatusReason.STOPPED_EARLY:
                return WORSE_THAN_ANY
            return None if limit is None else Outcome(limit, exact=False)
        case "diverged":
            return WORSE_THAN_ANY
        case "unknown":
            return None


def by_seed(found: RunOutcomes) -> Outcomes:
    """What each seed comes to: the mean over its members, exact where all of them are.

    A member that is only known to be worse makes the mean known to be worse, and one that is worse than any, as a
    diverged one is, makes the seed so.
    """
    members = grouped_by_seed((seed, one) for (seed, _), one in found.items())
    return {seed: _together(of_seed) for seed, of_seed in members.items()}


def outcomes(job: JobHistory, row: TableRow, score: Score, better: Direction) -> Outcomes:
    """The scores of a job's seeds as outcomes."""
    return by_seed(run_outcomes(job, row, score, better))


def _together(members: list[Outcome | None]) -> Outcome | None:
    if len(members) == 1:
        return members[0]
    if WORSE_THAN_ANY in members:
        return WORSE_THAN_ANY
    known = [one for one in members if one is not None]
    if len(known) < len(members):
        return None
    return Outcome(float(np.mean([one.at_least for one in known])), all(one.exact for one in known))


class Contest(NamedTuple):
    """How two jobs came out against each other."""

    method: Method
    differences: list[float]
    """First minus second, of the pairs in which both scores are exact; negative where the first is better."""
    difference: MeanInterval
    """Their mean; of two samples that make no pairs, the difference of the means of what is exact."""
    against: tuple[list[Outcome], list[Outcome]]
    """The outcomes of either side that were set against each other."""
    wins: int = 0
    losses: int = 0
    ties: int = 0
    censored: int = 0
    """Pairs that have a winner and no difference; without pairs, scores that are not exact."""
    uninformative: int = 0
    left_out: int = 0
    p_value: float | None = None
    smallest_p: float | None = None
    unpaired: Unpaired | None = None

    @property
    def pairs(self) -> int:
        return self.wins + self.losses + self.ties

    @property
    def leans(self) -> int:
        """−1 where the test leans to the first job, 1 where to the second, 0 where to neither."""
        lead = self.losses - self.wins if self.method == "sign_test" else self.difference.mean
        return int(np.sign(lead)) if isfinite(lead) else 0


class Side(NamedTuple):
    """One of two jobs, by one score."""

    job: JobHistory
    outcomes: RunOutcomes


def match(first: Side, second: Side, confidence: float) -> Contest:
    """Pair two jobs as far as they can be paired, and test which way they lean.

    Runs that were judged on the same rows pair by seed; folds of cross-validation by seed and fold, with a test that
    knows of the rows that they share. Where the rows differ, or two jobs share fewer than two seeds, Welch's t sets the
    seeds of the one against those of the other, and `unpaired` says why.
    """
    mine, theirs = by_seed(first.outcomes), by_seed(second.outcomes)
    if not same_rows(first.job.spec, second.job.spec):
        return apart(mine, theirs, "not_the_same_rows", confidence)
    if is_cross_validated(first.job) and _all_exact(first.outcomes, second.outcomes):
        return contest(first.outcomes, second.outcomes, confidence, overlap(first.job))
    if len(_both(mine, theirs)) < 2:
        unpaired = apart(mine, theirs, "too_few_common_seeds", confidence)
        if min(map(len, unpaired.against)) >= 2:
            return unpaired
        return contest(mine, theirs, confidence)._replace(method="none", p_value=None, smallest_p=None)
    return contest(mine, theirs, confidence)


def _both(
    first: Mapping[Place, Outcome | None], second: Mapping[Place, Outcome | None]
) -> list[tuple[Outcome, Outcome]]:
    return [(a, b) for place, a in first.items() if a is not None and (b := second.get(place)) is not None]


def _all_exact(first: RunOutcomes, second: RunOutcomes) -> bool:
    """Whether folds can be tested on their differences. Where one is censored, who won each seed has to decide: folds
    depend on each other, and a sign test would take each for an independent witness.
    """
    both = _both(first, second)
    return len(both) >= 2 and all(a.exact and b.exact for a, b in both)


def contest(
    first: Mapping[Place, Outcome | None],
    second: Mapping[Place, Outcome | None],
    confidence: float = 0.95,
    shared: float = 0.0,
) -> Contest:
    """Test whether pairs lean to one side, by the exact sign-flip test on their differences.

    Where any pair has one side censored there is no difference to flip, and inventing one (the budget, say) would
    decide the test. Then only who won each pair counts, by the exact sign test. That choice looks at which runs were
    censored but not at whose they were, so under exchangeable labels each test keeps its level. Where pairs share rows
    (`shared` is n_test / n_train of folds) their flips are not independent, and the corrected t-test decides.
    """
    both = _both(first, second)
    results = [_winner(a, b) for a, b in both]
    wins, losses, ties, unknown = (results.count(result) for result in (-1, 1, 0, None))
    differences = [a.at_least - b.at_least for a, b in both if a.exact and b.exact]
    censored = len(both) - unknown - len(differences)
    method: Method = "none"
    p_value = smallest = None
    if shared:
        method, p_value = "nadeau_bengio", nadeau_bengio(differences, shared)
    elif censored:
        method, p_value, smallest = "sign_test", sign_test(wins, losses), smallest_p(wins + losses)
    elif differences:
        flipped = sign_flip(differences)
        method = "sign_flip" if flipped.exact else "sign_flip_monte_carlo"
        p_value, smallest = flipped.p_value, flipped.smallest_p
    return Contest(
        method=method,
        differences=differences,
        difference=mean_interval(differences, confidence, shared),
        against=([a for a, _ in both], [b for _, b in both]),
        wins=wins,
        losses=losses,
        ties=ties,
        censored=censored,
        uninformative=unknown,
        left_out=len(first.keys() | second.keys()) - len(both),
        p_value=p_value,
        smallest_p=smallest,
    )


def apart(first: Outcomes, second: Outcomes, why: Unpaired, confidence: float) -> Contest:
    """Welch's t on the seeds of either side, if each has two and none of them is censored.

    A score that is only known to be worse than something has no place in a mean, and a mean without it would be one
    among survivors: the difference of those is told, and not tested.
    """
    mine, theirs = ([one for one in side.values() if one is not None] for side in (first, second))
    exact = [[one.at_least for one in side if one.exact] for side in (mine, theirs)]
    censored = len(mine) + len(theirs) - len(exact[0]) - len(exact[1])
    difference, p_value = MeanInterval(nan, nan, nan, len(exact[0]) + len(exact[1])), None
    if min(map(len, exact)) >= 2:
        difference, p_value = welch(exact[0], exact[1], confidence)
    elif all(exact):
        difference = difference._replace(mean=fmean(exact[0]) - fmean(exact[1]))
    tested = p_value is not None and not censored
    return Contest(
        method="welch" if tested else "none",
        differences=[],
        difference=difference,
        against=(mine, theirs),
        censored=censored,
        left_out=sum(one is None for side in (first, second) for one in side.values()),
        p_value=p_value if tested else None,
        unpaired=why,
    )


def _winner(first: Outcome, second: Outcome) -> int | None:
    """−1 or 1 for the side whose score is better, 0 for a tie, None where that cannot be known."""
    if first.exact and second.exact:
        return int(np.sign(first.at_least - second.at_least))
    if first.exact and first.at_least <= second.at_least:
        return -1
    if second.exact and second.at_least <= first.at_least:
        return 1
    return None
