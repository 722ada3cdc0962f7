"""Labs: shipped experiments, each with a claim to check and the rule by which it is judged."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import product
from operator import attrgetter
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from models.claims import Claim, Less, MetricValue, TestScore, jobs_of, quantities
from models.metrics import DEFAULT_METRIC
from models.spec.job import JobSpec, Seeds, digest

Order = Annotated[str, StringConstraints(pattern=r"^[^<>]+<[^<>]+$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Ranking(_Part):
    """How a lab's jobs are put side by side, and in what order they are claimed to stand."""

    metric: str = DEFAULT_METRIC
    target: float | None = None
    score: Literal["steps_to_target", "best", "last"] = "last"
    claims: tuple[Order, ...] = ()
    """`adam < momentum`: the left one has the lower score, of a metric that is better when lower."""

    @property
    def as_claims(self) -> list[Claim]:
        return [self._claim(*(side.strip() for side in order.split("<"))) for order in self.claims]

    def _claim(self, left: str, right: str) -> Less:
        target = self.target if self.score == "steps_to_target" else None
        sides = [MetricValue(job=job, metric=self.metric, take=self.score, target=target) for job in (left, right)]
        return Less(left=sides[0], right=sides[1])


class Contender(NamedTuple):
    """A point of a grid."""

    told: str
    """`learning rate 0.1`, for people."""
    trial: JobSpec
    """What is trained on the seeds set apart for choosing."""
    judged: JobSpec
    """What is judged if this point is chosen."""


class Tuned(_Part):
    """A contender at the point of a grid that ranks first on some seeds; it is judged on others."""

    base: JobSpec
    """What is judged, but for the fields of the grid."""
    grid: dict[str, list[Any]] = Field(min_length=1)
    """Dotted paths such as `optimizer.learning_rate`, and the values to try."""
    chosen_on: Seeds

    @model_validator(mode="after")
    def _is_judged_on_other_seeds(self) -> Self:
        if common := set(self.chosen_on) & set(self.base.seeds):
            raise ValueError(f"seeds {sorted(common)} both choose and judge: take others for one of the two")
        return self

    @property
    def contenders(self) -> list[Contender]:
        points = [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]
        return [self._contender(point) for point in points]

    def _contender(self, point: dict[str, Any]) -> Contender:
        told = ", ".join(f"{path.rpartition('.')[2].replace('_', ' ')} {value}" for path, value in point.items())
        judged = _changed(self.base, point)
        trial = judged.model_copy(update={"name": f"{self.base.name}, {told}", "seeds": self.chosen_on})
        return Contender(told, trial, judged)


class Quick(_Part):
    """A smaller version, which runs the same code in less time and may well leave everything undecided."""

    seeds: int = Field(ge=2)
    change: dict[str, Any] = {}
    """Dotted paths into the specs, and what stands there; a spec without that field stays as it is."""
    jobs: tuple[str, ...] | None = None
    """The only ones to train; claims about others are left out."""
    grid: dict[str, list[Any]] | None = None
    chosen_on: Seeds | None = None


class Lab(_Part):
    """One claim as it is taught, the jobs that can support or refute it, and how. It never states its own result."""

    name: str
    title: str
    claim: str
    judged_by: str
    caveat: str
    """What the verdict does not say."""
    experiment: str
    jobs: tuple[JobSpec, ...] = Field(min_length=1)
    tuned: tuple[Tuned, ...] = ()
    compare: Ranking | None = None
    claims: tuple[Claim, ...] = ()
    """About its jobs by their names."""
    quick: Quick

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        specs = list(self.specs)
        names = [spec.name for spec in specs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two jobs are called {', '.join(sorted(twice))}")
        if not self.family:
            raise ValueError("a lab has a claim that can be judged")
        for claim in self.family:
            if unknown := set(jobs_of(claim)) - set(names):
                raise ValueError(f"a claim names no job of this lab: {', '.join(sorted(unknown))}")
        if other := {spec.experiment for spec in specs} - {self.experiment}:
            raise ValueError(f"jobs belong to {', '.join(sorted(other))!r} instead of {self.experiment!r}")
        if self.tuned and self.compare is None:
            raise ValueError("a grid is chosen from by `compare`: say by which score")
        return self

    @property
    def specs(self) -> Iterator[JobSpec]:
        """Every job that is judged."""
        yield from self.jobs
        yield from (one.base for one in self.tuned)

    @property
    def family(self) -> list[Claim]:
        """All claims that are judged together."""
        return [*(self.compare.as_claims if self.compare else ()), *self.claims]

    @property
    def to_open(self) -> list[str]:
        """Names of the jobs whose sealed test a claim is about."""
        sides = (side for claim in self.family for side in quantities(claim).values())
        return list(dict.fromkeys(side.job for side in sides if isinstance(side, TestScore)))

    @property
    def runs(self) -> int:
        trials = sum(len(contender.trial.runs) for one in self.tuned for contender in one.contenders)
        return trials + sum(len(spec.runs) for spec in self.specs)

    @property
    def fingerprint(self) -> str:
        """Of what is trained and judged: stored results tell by it whether they are still about this lab."""
        parts = [spec.canonical() | {"name": spec.name} for spec in self.jobs]
        tuned = [one.model_dump(mode="json") for one in self.tuned]
        return digest([parts, tuned, [claim.model_dump(mode="json") for claim in self.family]])

    @property
    def tag(self) -> str:
        """With a name of their own appended, the tag of the jobs that one run of this very lab trains."""
        return f"lab:{self.name}:{self.fingerprint[:8]}:"

    def as_quick(self) -> "Lab":
        """The smaller version."""
        quick = self.quick
        kept = {spec.name for spec in self.specs} if quick.jobs is None else set(quick.jobs)

        def smaller(spec: JobSpec) -> JobSpec:
            return _changed(spec, quick.change | {"seeds": spec.seeds[: quick.seeds]}, if_there=True)

        ranking = self.compare
        if ranking is not None:
            orders = [order for order in ranking.claims if {side.strip() for side in order.split("<")} <= kept]
            ranking = ranking.model_copy(update={"claims": tuple(orders)})
        smaller_ones = {
            "jobs": [smaller(spec) for spec in self.jobs if spec.name in kept],
            "tuned": [
                {
                    "base": smaller(one.base),
                    "grid": quick.grid or one.grid,
                    "chosen_on": quick.chosen_on or one.chosen_on,
                }
                for one in self.tuned
                if one.base.name in kept
            ],
            "compare": ranking,
            "claims": [claim for claim in self.claims if set(jobs_of(claim)) <= kept],
        }
        return Lab.model_validate({name: getattr(self, name) for name in type(self).model_fields} | smaller_ones)


def _changed(spec: JobSpec, change: dict[str, Any], *, if_there: bool = False) -> JobSpec:
    """The spec with other values at some dotted paths; `if_there` leaves alone what has nothing there."""
    content = spec.model_dump(mode="json")
    for path, value in change.items():
        *parents, last = path.split(".")
        node: Any = content
        for name in parents:
            node = node.get(name, {})
        if not if_there or node.get(last) is not None:
            node[last] = value
    return JobSpec.model_validate(content)


@cache
def shipped() -> Mapping[str, Lab]:
    """The labs that come with Descent, by name, in the order of their names."""
    found = (_read(entry.read_text(encoding="utf-8")) for entry in files("models").joinpath("labs").iterdir())
    return MappingProxyType({lab.name: lab for lab in sorted(found, key=attrgetter("name"))})


def _read(text: str) -> Lab:
    # Keys that begin with x- hold what the rest of the file refers to.
    return Lab.model_validate({key: value for key, value in yaml.safe_load(text).items() if not key.startswith("x-")})
