"""Who is fast on how many problems: performance profiles and the score that sums them up."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from api.comparison.contest import Outcome, outcomes
from api.comparison.groups import Contender
from api.comparison.pairing import way_of_splitting
from api.comparison.result import TableRow
from api.comparison.scores import Direction
from api.comparison.standings import Profile, ProfileCurve
from models.spec.job import digest

MAX_RATIO = 4.0
"""τ up to which a contender is credited, as AlgoPerf's benchmark has it."""
GRID = np.geomspace(1.0, MAX_RATIO, 25)

Problem = tuple[str, tuple[object, ...], int]
"""A data set, how its rows were split, and a seed."""


def ratios(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each time over the best of its problem: (contenders, problems) to the same; infinite for a miss, which is inf.

    The best of a problem has ratio 1, even where it took no time at all.
    """
    best = times.min(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isinf(times), inf, np.where(times == best, 1.0, times / best))


def share_within(one: NDArray[np.float64], tau: NDArray[np.float64]) -> NDArray[np.float64]:
    """ρ(τ) = the share of problems with r ≤ τ (Dolan & Moré 2002): ratios (problems,) and τ (T,) to (T,)."""
    share: NDArray[np.float64] = np.searchsorted(np.sort(one), tau, "right") / len(one)
    return share


def profile_score(one: NDArray[np.float64]) -> float:
    """B = mean max(0, 4 − r) / 3 (Dahl et al. 2023, without their weights): the mean of ρ(τ) over τ from 1 to 4."""
    return float(np.maximum(0.0, MAX_RATIO - one).mean() / (MAX_RATIO - 1))


def profile(
    contenders: Sequence[Contender],
    rows: Mapping[str, TableRow],
    score: Literal["steps_to_target", "seconds_to_target"],
    better: Direction,
) -> Profile | None:
    """Over the problems on which it is known of every contender whether it met the target, and when.

    What a contender comes to on a seed is the mean over its runs there. Without two contenders and one such problem
    there is nothing to tell.
    """
    known = [_by_problem(contender, rows, score, better) for contender in contenders]
    problems = sorted({problem for one in known for problem in one}, key=repr)
    common = [problem for problem in problems if all(one.get(problem) for one in known)]
    if len(contenders) < 2 or not common:
        return None
    times = np.array([[_time(one[problem]) for problem in common] for one in known])
    curves = [
        _curve(contender, mine, reached)
        for contender, mine, reached in zip(contenders, ratios(times), np.isfinite(times).sum(axis=1), strict=True)
    ]
    return Profile(score=score, problems=len(common), left_out=len(problems) - len(common), curves=curves)


def _by_problem(
    contender: Contender,
    rows: Mapping[str, TableRow],
    score: Literal["steps_to_target", "seconds_to_target"],
    better: Direction,
) -> dict[Problem, Outcome | None]:
    return {
        (digest(job.canonical["dataset"]), way_of_splitting(job.spec.evaluation), seed): outcome
        for job in contender.jobs
        for seed, outcome in outcomes(job, rows[job.job_id], score, better).items()
    }


def _time(outcome: Outcome | None) -> float:
    assert outcome is not None
    return outcome.at_least if outcome.exact else inf


def _curve(contender: Contender, mine: NDArray[np.float64], solved: int) -> ProfileCurve:
    tau = np.unique(np.concatenate((GRID, mine[mine <= MAX_RATIO])))
    return ProfileCurve(
        label=contender.label,
        job_ids=contender.job_ids,
        solved=int(solved),
        score=profile_score(mine),
        tau=tau.tolist(),
        share=share_within(mine, tau).tolist(),
    )
