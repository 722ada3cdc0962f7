"""Labs: shipped experiments, each with a claim to check and the rule by which it is judged."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from descent.comparison import Question
from descent.documents import parse
from descent.errors import DescentError
from models.metrics import DEFAULT_METRIC
from models.spec.job import JobSpec

Claim = Annotated[str, StringConstraints(pattern=r"^[^<>]+<[^<>]+$")]


class Judgement(BaseModel):
    """How a lab's jobs are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    metric: str = DEFAULT_METRIC
    target: float
    score: str
    claims: tuple[Claim, ...] = Field(min_length=1)
    """`adam < momentum`: the left one is better."""


class Lab(BaseModel):
    """One claim as it is taught, the jobs that can support or refute it, and how. It never states its own result."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    title: str
    claim: str
    judged_by: str
    caveat: str
    """What the verdict does not say."""
    experiment: str
    jobs: tuple[JobSpec, ...] = Field(min_length=2)
    compare: Judgement

    @model_validator(mode="after")
    def _names_its_jobs(self) -> Self:
        names = {job.name for job in self.jobs}
        for claim in self.compare.claims:
            if unknown := {side.strip() for side in claim.split("<")} - names:
                raise ValueError(f"the claim {claim!r} names no job of this lab: {', '.join(sorted(unknown))}")
        return self

    @property
    def question(self) -> Question:
        """What to ask of the service once the jobs have ended."""
        judged = self.compare
        return Question(metric=judged.metric, target=judged.target, score=judged.score, claims=judged.claims)


def names() -> list[str]:
    return sorted(Path(entry.name).stem for entry in files("descent").joinpath("labs").iterdir())


def load(name: str) -> Lab:
    """Read a shipped lab.

    Raises:
        DescentError: if there is none of that name.

    """
    if name not in names():
        raise DescentError(f"There is no lab {name!r}; there are: {', '.join(names())}")
    source = files("descent").joinpath("labs", f"{name}.yaml")
    return Lab.model_validate(parse(source.read_text(encoding="utf-8"), source.name))
