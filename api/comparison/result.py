"""What a comparison answers. NaN and infinities travel as null."""

from math import isfinite
from typing import Any, Literal

from pydantic import Field

from api.comparison.align import Axis
from api.comparison.intervals import MeanInterval
from models.answers import Answer

Score = Literal["steps_to_target", "best", "last"]
Verdict = Literal["supported", "refuted", "undecided"]
Method = Literal["sign_flip", "sign_flip_monte_carlo", "sign_test", "welch", "none"]


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no word for it."""
    return value if value is not None and isfinite(value) else None


class Claim(Answer):
    """One job is said to do better than another."""

    better: str
    """Id of the job that is said to do better."""
    worse: str
    """Id of the job that is said to do worse."""
    score: Score = "steps_to_target"


class Estimate(Answer):
    """A mean over runs and its interval; null where too few runs say nothing."""

    mean: float | None
    lower: float | None
    upper: float | None
    n: int
    """How many values stand behind it."""

    @classmethod
    def of(cls, interval: MeanInterval) -> "Estimate":
        return cls(
            mean=finite(interval.mean),
            lower=finite(interval.lower),
            upper=finite(interval.upper),
            n=interval.n,
        )


class ComparedJob(Answer):
    """One contender."""

    id: str
    name: str
    label: str
    """The name, with the id where the name is empty or shared."""
    spec_hash: str
    seeds: list[int]
    runs_by_status: dict[str, int]
    diverged: int
    """Failed runs whose loss became NaN or infinite: counted here, and in no mean."""


class DivergedRun(Answer):
    """Where a run was last seen before its loss became NaN or infinite."""

    run_id: str
    seed: int
    x: float | None
    value: float | None


class Curve(Answer):
    """One metric over the runs of a job. Diverged runs are not averaged in; they stand beside it."""

    job_id: str
    x: list[float]
    mean: list[float | None]
    lower: list[float | None]
    upper: list[float | None]
    n: list[int]
    """How many runs stand behind each point: fewer where some ended earlier."""
    total: int
    """Points before downsampling."""
    interpolated: bool
    """The runs were recorded at different places, so values lie between recorded ones."""
    diverged: list[DivergedRun]


class SeedScore(Answer):
    """The scores of one run. Those of a run that has not succeeded are as far as it got, and in no mean."""

    run_id: str
    seed: int
    status: str
    status_reason: str | None
    counted: bool
    """Succeeded, and therefore part of the means."""
    last: float | None
    best: float | None
    best_step: int | None


class TargetTime(Answer):
    """When one run first met the target."""

    run_id: str
    seed: int
    steps: int | None
    """Null when it did not: a miss is censored at its budget, never scored as the budget."""
    outcome: Literal["reached", "missed", "diverged", "unknown"]
    """A diverged run has missed, whatever it touched on its way. Unknown: it has not ended, or not by itself."""


class StepsToTarget(Answer):
    """How soon the runs of a job met the target."""

    target: float
    budget: int
    """Steps that each run was given."""
    runs: list[TargetTime]
    reached: int
    missed: int
    """Diverged runs included."""
    unknown: int
    median: float | None
    """Among all runs with a known outcome; null when the median run missed."""
    median_text: str
    """The median in words: "1,200", or "> 10,000" when the median run missed."""


class TableRow(Answer):
    """One job's scores."""

    job_id: str
    last: Estimate
    best: Estimate
    best_step: Estimate
    runs: list[SeedScore]
    steps_to_target: StepsToTarget | None
    """Null when no target was given."""


class PairedDifference(Answer):
    """A job against the baseline on the last value, paired by seed."""

    job_id: str
    baseline_id: str
    method: Method
    pairs: int
    left_out: int
    """Seeds without a usable run on both sides."""
    difference: Estimate
    """Job minus baseline, over the pairs in which both runs succeeded."""
    p_value: float | None
    smallest_p: float | None
    """No data can push the test below it with this many pairs."""
    holm_p: float | None
    """Adjusted for all comparisons with the baseline."""
    seeds_needed: int
    """The fewest seeds with which a test in this family can reach 5 %."""
    sentence: str


class JudgedClaim(Answer):
    """A claim, its verdict and what it rests on."""

    claim: Claim
    statement: str
    """The claim in words."""
    verdict: Verdict
    method: Method
    pairs: int
    """Pairs that the test used."""
    wins: int
    """Pairs in which the job said to be better was."""
    losses: int
    ties: int
    censored: int
    """Pairs in which one side missed the target or diverged: they have a winner but no difference."""
    uninformative: int
    """Pairs in which both missed, or nobody can tell who was first: left out."""
    left_out: int
    """Seeds without a usable run on both sides."""
    difference: Estimate
    """Better minus worse, mean over the pairs; null when a pair is censored: no difference is invented."""
    median_better: float | None
    median_worse: float | None
    """Medians over the pairs; null when the median run missed."""
    ratio_of_medians: float | None
    """median_better / median_worse; null unless both are known and positive."""
    p_value: float | None
    smallest_p: float | None
    holm_p: float
    """Adjusted for all claims."""
    seeds_needed: int
    sentence: str


class Comparison(Answer):
    """Jobs side by side, paired by seed."""

    metric: str
    better: Literal["lower", "higher"] | None
    """Which direction of the metric is an improvement."""
    x: Axis
    target: float | None
    baseline: str
    """Id of the job that the others are paired with."""
    confidence: float = Field(examples=[0.95])
    jobs: list[ComparedJob]
    curves: list[Curve]
    table: list[TableRow]
    paired: list[PairedDifference]
    claims: list[JudgedClaim]
    verdict: Verdict | None
    """Supported if all claims are, refuted if any is, else undecided; null without claims."""
    spec_diff: dict[str, dict[str, Any]]
    """The fields in which the specs differ: dotted path → job id → value; a job without the field is absent."""
    warnings: list[str]
