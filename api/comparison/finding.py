"""What a claim is judged by, and what the data say to it before the family of claims is known."""

from dataclasses import dataclass
from typing import Literal

from api.comparison.contest import Outcomes
from api.comparison.intervals import MeanInterval
from models.claims import Claim, Method
from models.spec.job import JobSpec


@dataclass(frozen=True)
class Sample:
    """One quantity of one job, seed by seed."""

    quantity: str
    """In words: "last validation loss"."""
    job: str
    """What the job is called."""
    spec: JobSpec
    outcomes: Outcomes
    """On a scale on which lower is better; None where nothing is known of a seed."""
    sign: Literal[1, -1] = 1
    """−1 where higher is better, so that the value is sign · outcome."""

    @property
    def words(self) -> str:
        return f'{self.quantity} of "{self.job}"'

    @property
    def values(self) -> dict[int, float]:
        """The seeds whose value is known."""
        known = self.outcomes.items()
        return {seed: self.sign * one.at_least for seed, one in known if one is not None and one.exact}

    @property
    def without_value(self) -> int:
        """Seeds that missed a target or diverged."""
        return sum(one is not None and not one.exact for one in self.outcomes.values())


@dataclass(frozen=True)
class Finding:
    """What the data say to one claim, before the family is known."""

    claim: Claim
    statement: str
    method: Method
    effect: MeanInterval
    leans: Literal[-1, 0, 1]
    """1 towards the claim, −1 against it. Of an interval that is the verdict."""
    seeds: int = 0
    left: float | None = None
    right: float | None = None
    wins: int = 0
    losses: int = 0
    ties: int = 0
    censored: int = 0
    left_out: int = 0
    p_value: float | None = None
    smallest_p: float | None = None
    remark: str = ""
    """Why it cannot be decided."""

    @property
    def is_tested(self) -> bool:
        """Whether a p decides."""
        return self.method != "interval"
