"""Two jobs, seed against seed: who won each pair, by how much, and whether that could be chance."""

from collections.abc import Mapping
from math import inf
from typing import NamedTuple

import numpy as np

from api.comparison.history import JobHistory
from api.comparison.result import Method, Score, TableRow
from api.comparison.scores import Direction
from api.comparison.significance import sign_flip, sign_test, smallest_p
from models.spec.plan import plan
from models.status import StatusReason


class Outcome(NamedTuple):
    """What is known of one run's score, on a scale on which lower is better."""

    at_least: float
    exact: bool
    """The score is `at_least`. Otherwise it is only known to be worse, by nobody knows how much."""


Outcomes = Mapping[int, Outcome | None]
"""By seed, every run of a job; None where nothing is known, because the run has not ended or not by itself."""

WORSE_THAN_ANY = Outcome(inf, exact=False)


def outcomes(job: JobHistory, row: TableRow, score: Score, better: Direction) -> Outcomes:
    """The scores of a job's runs as outcomes.

    A diverged run is worse than any that did not, by an unknown amount. So is a run that ended by early stopping short
    of the target: more budget would not have changed it. A run that used up its budget is only known to need more.
    Where the metric has no direction nothing is worse, and a diverged run has no outcome.
    """
    if score == "steps_to_target":
        return _times(job, row)
    sign = -1 if better == "higher" else 1
    found: dict[int, Outcome | None] = {}
    for run, mine in zip(job.runs, row.runs, strict=True):
        value = mine.last if score == "last" else mine.best
        if run.diverged:
            found[run.seed] = WORSE_THAN_ANY if better else None
        else:
            found[run.seed] = Outcome(sign * value, exact=True) if mine.counted and value is not None else None
    return found


def _times(job: JobHistory, row: TableRow) -> Outcomes:
    assert row.steps_to_target is not None
    found: dict[int, Outcome | None] = {}
    for run, time in zip(job.runs, row.steps_to_target.runs, strict=True):
        match time.outcome:
            case "reached":
                assert time.steps is not None
                found[run.seed] = Outcome(time.steps, exact=True)
            case "diverged":
                found[run.seed] = WORSE_THAN_ANY
            case "missed":
                stopped = run.status_reason == StatusReason.STOPPED_EARLY
                found[run.seed] = WORSE_THAN_ANY if stopped else Outcome(plan(job.spec).steps, exact=False)
            case "unknown":
                found[run.seed] = None
    return found


class Contest(NamedTuple):
    """How the pairs of two jobs came out."""

    method: Method
    differences: list[float]
    """First minus second, of the pairs in which both scores are exact; negative where the first is better."""
    wins: int
    losses: int
    ties: int
    censored: int
    uninformative: int
    left_out: int
    p_value: float | None
    smallest_p: float | None

    @property
    def pairs(self) -> int:
        return self.wins + self.losses + self.ties

    @property
    def leans(self) -> int:
        """−1 where the test leans to the first job, 1 where to the second, 0 where to neither."""
        lead = self.losses - self.wins if self.method == "sign_test" else sum(self.differences)
        return int(np.sign(lead))


def contest(first: Outcomes, second: Outcomes) -> Contest:
    """Test whether pairs lean to one side, by the exact sign-flip test on their differences.

    Where any pair has one side censored there is no difference to flip, and inventing one (the budget, say) would
    decide the test. Then only who won each pair counts, by the exact sign test. That choice looks at which runs were
    censored but not at whose they were, so under exchangeable labels each test keeps its level.
    """
    both = [(a, b) for seed, a in first.items() if a is not None and (b := second.get(seed)) is not None]
    results = [_winner(a, b) for a, b in both]
    wins, losses, ties, unknown = (results.count(result) for result in (-1, 1, 0, None))
    differences = [a.at_least - b.at_least for a, b in both if a.exact and b.exact]
    censored = len(both) - unknown - len(differences)
    left_out = len(first.keys() | second.keys()) - len(both)
    method: Method = "none"
    p_value = smallest = None
    if censored:
        method, p_value, smallest = "sign_test", sign_test(wins, losses), smallest_p(wins + losses)
    elif differences:
        flipped = sign_flip(differences)
        method = "sign_flip" if flipped.exact else "sign_flip_monte_carlo"
        p_value, smallest = flipped.p_value, flipped.smallest_p
    return Contest(method, differences, wins, losses, ties, censored, unknown, left_out, p_value, smallest)


def _winner(first: Outcome, second: Outcome) -> int | None:
    """−1 or 1 for the side whose score is better, 0 for a tie, None where that cannot be known."""
    if first.exact and second.exact:
        return int(np.sign(first.at_least - second.at_least))
    if first.exact and first.at_least <= second.at_least:
        return -1
    if second.exact and second.at_least <= first.at_least:
        return 1
    return None
