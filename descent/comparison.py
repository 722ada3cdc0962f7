"""A comparison as the service answers it, and the question that asks for one."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Self, TypedDict

from pydantic import BaseModel, ConfigDict

from models.claims import Verdict


class Question(TypedDict, total=False):
    """What to compare, and how; whatever is left out the service chooses."""

    experiment: str | None
    sweep: str | None
    metric: str | None
    x: str | None
    target: float | None
    score: str | None
    rank_by: str | None
    group: str | None
    baseline: str | None
    claims: Sequence[str]


def as_parameters(question: Question) -> list[tuple[str, str]]:
    """The question as query parameters, one `claim` for each claim."""
    claims = [("claim", claim) for claim in question.get("claims", ())]
    others = [(name, str(value)) for name, value in question.items() if name != "claims" and value is not None]
    return others + claims


class _Part(BaseModel):
    # The service says more than a table needs; `Comparison.raw` has it.
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Estimate(_Part):
    """A mean over runs and its interval; None where too few runs say nothing."""

    mean: float | None
    lower: float | None
    upper: float | None
    n: int


class ComparedJob(_Part):
    """One contender."""

    id: str
    label: str
    """Its name, with the id where the name is empty or shared."""
    seeds: list[int]
    diverged: int


class TargetTime(_Part):
    """When one run first met the target; None when it did not."""

    seed: int
    steps: int | None
    seconds: float | None


class StepsToTarget(_Part):
    """How soon the runs of a job met the target."""

    runs: list[TargetTime]
    reached: int
    budget: int
    median: float | None
    median_text: str
    """The median in words: "1,200", or "> 10,000" when the median run missed."""
    median_seconds: float | None
    median_seconds_text: str


class TableRow(_Part):
    """One job's scores."""

    job_id: str
    last: Estimate
    best: Estimate
    steps_to_target: StepsToTarget | None


class PairedDifference(_Part):
    """A job against the baseline on the last value, paired by seed."""

    job_id: str
    baseline_id: str
    pairs: int
    difference: Estimate
    p_value: float | None
    holm_p: float | None
    sentence: str


class ProfileCurve(_Part):
    """How often one contender is within a ratio τ of the fastest, at the places where that changes."""

    label: str
    solved: int
    score: float
    tau: list[float]
    share: list[float]

    def within(self, ratio: float) -> float:
        """The share of problems on which it took at most so many times as long as the fastest."""
        return self.share[bisect_right(self.tau, ratio) - 1]


class Profile(_Part):
    """Who was how fast on how many problems, among these contenders."""

    problems: int
    curves: list[ProfileCurve]


class InterquartileMean(_Part):
    """The mean of the middle half of a contender's last values."""

    label: str
    datasets: int
    estimate: Estimate


class RankedContender(_Part):
    """One contender, standing for the best spec that it tried."""

    rank: int | None
    label: str
    tried: int
    diverged: int
    estimate: Estimate
    difference: Estimate
    tied: bool | None


class Ranking(_Part):
    """Contenders by the mean of the metric on validation rows."""

    by: str
    """The field of the spec whose values contend; empty where every job does."""
    score: str
    even_budgets: bool
    contenders: list[RankedContender]


class JudgedClaim(_Part):
    """A claim, its verdict and what it rests on."""

    statement: str
    verdict: Verdict
    pairs: int
    wins: int
    losses: int
    ties: int
    difference: Estimate
    """Better minus worse, over the pairs; None when a pair is censored."""
    ratio_of_medians: float | None
    p_value: float | None
    smallest_p: float | None
    holm_p: float
    sentence: str


class Comparison(_Part):
    """Jobs side by side, paired by seed; `raw` is the whole answer, curves too."""

    metric: str
    target: float | None
    score: str
    baseline: str
    confidence: float
    jobs: list[ComparedJob]
    table: list[TableRow]
    paired: list[PairedDifference]
    claims: list[JudgedClaim]
    verdict: Verdict | None
    """Supported if all claims are, refuted if any is, else undecided; None without claims."""
    profile: Profile | None
    interquartile: list[InterquartileMean]
    ranking: Ranking | None
    warnings: list[str]
    raw: dict[str, Any]

    @classmethod
    def read(cls, content: bytes) -> Self:
        raw = json.loads(content)
        return cls.model_validate(raw | {"raw": raw})

    def label(self, job_id: str) -> str:
        return next(job.label for job in self.jobs if job.id == job_id)
