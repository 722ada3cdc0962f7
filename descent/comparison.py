"""A comparison as the service answers it, and the question that asks for one."""

import json
from collections.abc import Sequence
from typing import Any, Literal, Self, TypedDict

from pydantic import BaseModel, ConfigDict

Verdict = Literal["supported", "refuted", "undecided"]


class Question(TypedDict, total=False):
    """What to compare, and how; whatever is left out the service chooses."""

    experiment: str | None
    sweep: str | None
    metric: str | None
    x: str | None
    target: float | None
    score: str | None
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


class StepsToTarget(_Part):
    """How soon the runs of a job met the target."""

    runs: list[TargetTime]
    reached: int
    budget: int
    median: float | None
    median_text: str
    """The median in words: "1,200", or "> 10,000" when the median run missed."""


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
    baseline: str
    confidence: float
    jobs: list[ComparedJob]
    table: list[TableRow]
    paired: list[PairedDifference]
    claims: list[JudgedClaim]
    verdict: Verdict | None
    """Supported if all claims are, refuted if any is, else undecided; None without claims."""
    warnings: list[str]
    raw: dict[str, Any]

    @classmethod
    def read(cls, content: bytes) -> Self:
        raw = json.loads(content)
        return cls.model_validate(raw | {"raw": raw})

    def label(self, job_id: str) -> str:
        return next(job.label for job in self.jobs if job.id == job_id)
