"""Claims: what is said to hold of quantities that jobs measure seed by seed, and what the data say to it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from models.answers import Answer
from models.metrics import DEFAULT_METRIC
from models.spec.component import Component, Items

Verdict = Literal["supported", "refuted", "undecided"]
Method = Literal[
    "sign_flip", "sign_flip_monte_carlo", "sign_test", "welch", "nadeau_bengio", "binomial", "interval", "none"
]
Ailment = Literal["diverged", "unstable", "overfitting", "underfitting", "good_fit"]

MAX_CLAIMS = 50


# ── quantities ───────────────────────────────────────────────────────────────────────────────────


class _Quantity(Component):
    """A number that a job has for each of its seeds."""

    job: str = Field(min_length=1, max_length=200)
    """Whose."""


class MetricValue(_Quantity):
    """What the history of one metric comes to."""

    kind: Literal["metric"] = "metric"
    metric: str = Field(DEFAULT_METRIC, max_length=64)
    take: Literal["last", "best", "steps_to_target", "mean"] = "last"
    """The last or the best value, the steps until a value first meets the target, or the mean over some steps."""
    target: float | None = None
    """Of "steps_to_target"."""
    from_step: int | None = Field(None, ge=0)
    """Of "mean": the first step that counts."""
    to_step: int | None = Field(None, ge=0)
    """Of "mean": the last step that counts."""

    @model_validator(mode="after")
    def _has_what_it_takes(self) -> Self:
        if (self.target is not None) != (self.take == "steps_to_target"):
            raise ValueError('a target goes with take "steps_to_target": give both or neither')
        steps = (self.from_step, self.to_step)
        if None in steps if self.take == "mean" else steps != (None, None):
            raise ValueError('from_step and to_step go with take "mean": give all three or none')
        return self


class ResultScore(_Quantity):
    """What the runs of a seed come to together: a score of GET /v1/jobs/{id}/results."""

    kind: Literal["result"] = "result"
    score: str = Field(max_length=64)


class AnalysisValue(_Quantity):
    """What an analysis found, averaged over the runs of a seed."""

    kind: Literal["analysis"] = "analysis"
    analysis: str = Field(max_length=40)
    """Its kind."""
    value: str = Field(max_length=64)
    """Which of its values."""
    options: dict[Annotated[str, Field(max_length=40)], Any] = Field({}, max_length=16)
    """Which of several analyses of this kind: the one with these options."""


class TestScore(_Quantity):
    """What the sealed rows said once they had been opened, averaged over the runs of a seed."""

    __test__ = False  # no matter what pytest makes of its name

    kind: Literal["test"] = "test"
    score: str = Field("test_loss", max_length=64)


class Seconds(_Quantity):
    """How long a run trained. Runs that train together share their time."""

    kind: Literal["seconds"] = "seconds"


Quantity = Annotated[MetricValue | ResultScore | AnalysisValue | TestScore | Seconds, Field(discriminator="kind")]


# ── claims ───────────────────────────────────────────────────────────────────────────────────────


class Less(Component):
    """The left quantity is lower than the right one, seed against seed."""

    kind: Literal["less"] = "less"
    left: Quantity
    right: Quantity


class Between(Component):
    """The mean of a quantity over all seeds lies between two bounds, or on the right side of one."""

    kind: Literal["between"] = "between"
    of: Quantity
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("give low, high or both")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low:g} must lie below high {self.high:g}")
        return self


class Close(Component):
    """The mean difference of two quantities, seed against seed, is smaller than a margin either way."""

    kind: Literal["close"] = "close"
    left: Quantity
    right: Quantity
    margin: float = Field(gt=0)


class Diagnosed(Component):
    """Most runs of a job look like this: see docs/diagnosis.md."""

    kind: Literal["diagnosed"] = "diagnosed"
    job: str = Field(min_length=1, max_length=200)
    verdict: Ailment


Claim = Annotated[Less | Between | Close | Diagnosed, Field(discriminator="kind")]
Claims = Annotated[Items[Claim], Field(min_length=1, max_length=MAX_CLAIMS)]


def quantities(claim: Claim) -> dict[str, Quantity]:
    """The quantities of a claim, by the names of their fields."""
    match claim:
        case Less() | Close():
            return {"left": claim.left, "right": claim.right}
        case Between():
            return {"of": claim.of}
        case Diagnosed():
            return {}


def jobs_of(claim: Claim) -> list[str]:
    """Whom a claim is about."""
    return [claim.job] if isinstance(claim, Diagnosed) else [side.job for side in quantities(claim).values()]


def renamed(claim: Claim, names: Mapping[str, str]) -> Claim:
    """The same claim, its jobs called by other names."""
    if isinstance(claim, Diagnosed):
        return claim.model_copy(update={"job": names[claim.job]})
    sides = quantities(claim).items()
    return claim.model_copy(update={field: side.model_copy(update={"job": names[side.job]}) for field, side in sides})


# ── what was found ───────────────────────────────────────────────────────────────────────────────


class Interval(Answer):
    """A mean and its interval; null where too few values say nothing."""

    mean: float | None
    lower: float | None
    upper: float | None
    n: int
    """How many values stand behind it."""


class JudgedClaim(Answer):
    """A claim, its verdict and what it rests on."""

    claim: Claim
    statement: str
    """The claim in words."""
    verdict: Verdict
    method: Method
    effect: Interval
    """Left minus right; of `between` the mean itself; of `diagnosed` the share of runs, without an
    interval. Null where a run missed its target or diverged: no number is invented for it."""
    left: float | None
    """Mean of the left side, or of the only one, over the seeds that count."""
    right: float | None
    seeds: int
    """Pairs, seeds or runs that the verdict goes by."""
    wins: int
    """Of them, those that agree with the claim; nobody wins where two jobs were judged on different rows."""
    losses: int
    ties: int
    censored: int
    """Pairs with a winner and no difference, as one side missed its target or diverged."""
    left_out: int
    """Seeds of which too little is known."""
    p_value: float | None
    smallest_p: float | None
    """No data can push the test below it with this many seeds."""
    holm_p: float | None
    """Adjusted for all claims that are tested by a p."""
    sentence: str


class Judgement(Answer):
    """The verdicts on a family of claims."""

    verdict: Verdict
    """Supported if all claims are, refuted if any is, else undecided."""
    confidence: float
    claims: list[JudgedClaim]
