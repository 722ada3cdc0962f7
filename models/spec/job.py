"""The job spec: one declarative, immutable description of a controlled experiment."""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from models.spec.analyses import Analysis
from models.spec.component import Items, SpecModel, shared_shape
from models.spec.datasets import Dataset
from models.spec.evaluation import Evaluation, Holdout, KFold
from models.spec.networks import MLP, Linear, Network
from models.spec.optimizers import FULL_BATCH, Optimizer
from models.spec.regularizers import BatchNorm, Regularizer
from models.spec.schedules import Constant, Schedule
from models.spec.uploads import Uploaded

FULL_BATCH_KINDS = [kind.model_fields["kind"].default for kind in FULL_BATCH]

MAX_STEPS = 10_000_000
MAX_EPOCHS = 10_000
LONG_STEPS = 1_000_000
"""From here on "auto" may compile the steps."""
MAX_BATCH = 65_536
MAX_RUNS_PER_JOB = 1_000
MAX_SEED = 2**32 - 1

Name = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]

# What the owner may rename later: none of it changes a single bit of the training.
LABELS = frozenset({"name", "experiment", "tags", "notes", "priority"})


class Budget(SpecModel):
    """How long a run trains: steps (optimizer updates) or epochs (passes over the training split)."""

    steps: int | None = Field(None, ge=1, le=MAX_STEPS)
    epochs: int | None = Field(None, ge=1, le=MAX_EPOCHS)
    max_seconds: float | None = Field(None, gt=0)
    """A run that trains for longer, all its attempts together, fails. The half minute in which a compiled one is made
    into a program counts. Not part of the hash: it changes no step."""

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give the budget either in steps or in epochs")
        return self


class Record(SpecModel):
    """What a run writes down while it trains."""

    every_steps: int | Literal["auto"] = "auto"
    """Steps between two points of the training loss; "auto" keeps at most 2,000 points."""
    evaluate_every: int | Literal["auto"] = "auto"
    """Steps between two evaluations on the validation split; "auto" is an epoch, but 20 to 200 times a run."""
    snapshots: Items[Annotated[int, Field(ge=0, le=MAX_STEPS)]] = Field((), max_length=100)
    """Steps after which to keep what the network predicts."""

    @model_validator(mode="after")
    def _positive(self) -> Self:
        for name in ("every_steps", "evaluate_every"):
            value = getattr(self, name)
            if value != "auto" and not 1 <= value <= MAX_STEPS:
                raise ValueError(f'{name} must lie between 1 and {MAX_STEPS:,}, or be "auto"')
        return self


def _count_to_list(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_RUNS_PER_JOB:
            raise ValueError(f"a job has between 1 and {MAX_RUNS_PER_JOB:,} seeds")
        return tuple(range(value))
    return value


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("each seed may stand only once")
    return seeds


# Strictly: a seed that was written as true or "1" is a slip, and would train another run than its writer thinks.
Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)]
Priority = Annotated[int, Field(strict=True, ge=-100, le=100)]

Seeds = Annotated[
    Items[Seed],
    Field(min_length=1, max_length=MAX_RUNS_PER_JOB),
    BeforeValidator(_count_to_list, json_schema_input_type=int | tuple[int, ...]),
    AfterValidator(_distinct),
]


def _batch_size(value: Any) -> Any:
    if value == "full" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_BATCH):
        return value
    raise ValueError(f'batch_size is a whole number from 1 to {MAX_BATCH:,}, or "full" for the whole training split')


BatchSize = Annotated[int | Literal["full"], BeforeValidator(_batch_size)]


class JobSpec(SpecModel):
    """Everything that decides what a job trains. Only `dataset` and `optimizer` are required."""

    model_config = ConfigDict(title="JobSpec")

    name: Name = ""
    """What people call the job; not part of its hash."""
    experiment: Name = ""
    """The question that this job helps to answer; groups jobs."""
    tags: Items[Tag] = Field((), max_length=32)
    notes: str = Field("", max_length=10_000)
    dataset: Dataset
    network: Network = MLP()
    loss: Literal["auto", "mse", "huber", "cross_entropy"] = "auto"
    """"auto" is the mean squared error for regression and cross-entropy for classes. "huber" has δ = 1."""
    class_weights: Literal["none", "balanced"] = "none"
    """How rows count in the training loss: alike, or those of class c by N / (C · N_c) over the training rows of each
    run, so that all classes weigh the same (King & Zeng 2001). Evaluations count every row alike."""
    optimizer: Optimizer
    schedule: Schedule = Constant()
    regularizers: Items[Regularizer] = Field((), max_length=16)
    batch_size: BatchSize = 64
    """Rows per step, or "full": the whole training split."""
    budget: Budget = Budget(epochs=50)
    evaluation: Evaluation = Holdout()
    seeds: Seeds = (0,)
    """A count n stands for the seeds 0 … n − 1. One seed is one run, or as many as the evaluation asks for."""
    analyses: Items[Analysis] = Field((), max_length=16)
    """What to measure of each network once it is trained."""
    record: Record = Record()
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of matrix products and convolutions, as torch.autocast rounds them; parameters and sums are float32 always."""
    execution: Literal["auto", "eager", "compiled"] = "auto"
    """How steps are computed: "compiled" turns the gradients of a perceptron into a native program, which takes some
    25 seconds once and then saves up to a quarter of each step; "auto" does so for small ones of 1,000,000 steps and
    more. A worker without a C++ compiler, or on a GPU, trains eagerly, and the run's provenance says so."""
    priority: Priority = 0
    """Higher goes first."""

    @model_validator(mode="before")
    @classmethod
    def _some_optimizers_are_full_batch(cls, value: Any) -> Any:
        if isinstance(value, dict) and "batch_size" not in value:
            optimizer = value.get("optimizer")
            kind = optimizer.get("kind") if isinstance(optimizer, dict) else optimizer
            if kind in FULL_BATCH_KINDS or isinstance(optimizer, FULL_BATCH):
                return value | {"batch_size": "full"}
        return value

    @model_validator(mode="after")
    def _choices_fit_together(self) -> Self:
        if isinstance(self.optimizer, FULL_BATCH) and self.batch_size != "full":
            raise ValueError(f'{self.optimizer.kind} uses the whole training split: leave batch_size out or take "sgd"')
        kinds = [r.kind for r in self.regularizers]
        if twice := {k for k in kinds if kinds.count(k) > 1}:
            raise ValueError(f"each regularizer may stand only once: {', '.join(sorted(twice))}")
        if {"mixup", "cutmix"} <= set(kinds):
            raise ValueError("mixup and cutmix both mix the rows of a batch: take one of them")
        if self.execution == "compiled" and not self.compilable:
            raise ValueError(
                'execution "compiled" is for linear and mlp in float32 without batch_norm and class_weights: '
                'take "eager" or "auto"'
            )
        return self

    @model_validator(mode="after")
    def _choices_fit_the_data(self) -> Self:
        if self.is_settled:
            self._check_data()
        return self

    def with_dataset(self, dataset: Uploaded) -> "JobSpec":
        """Return this spec with its data set, as the service has found it to be.

        Raises:
            ValueError: if another part of the spec does not fit the data.

        """
        spec = self.model_copy(update={"dataset": dataset})
        spec._check_data()
        return spec

    def _check_data(self) -> None:
        shape, name = self.dataset.shape, self.dataset.kind
        if shape.task == "regression":
            if self.loss == "cross_entropy":
                raise ValueError(f'cross_entropy needs classes and "{name}" is a regression: take "mse"')
            if self.class_weights != "none":
                raise ValueError(f'class_weights need classes and "{name}" is a regression: leave them out')
            if not isinstance(self.evaluation, KFold) and self.evaluation.stratified:
                raise ValueError(f'stratified needs classes and "{name}" is a regression: leave it out')
        elif self.loss in ("mse", "huber"):
            raise ValueError(f'"{name}" has classes: take "cross_entropy" or leave loss out')
        misfits = [part.misfit(shape, self.optimizer) for part in self.regularizers]
        misfits += [part.misfit(shape) for part in self.analyses]
        for misfit in filter(None, misfits):
            raise ValueError(misfit)

    @property
    def is_settled(self) -> bool:
        """Whether the spec says by itself what its data are; else the service has to look them up."""
        return not isinstance(self.dataset, Uploaded) or self.dataset.found is not None

    @property
    def compilable(self) -> bool:
        """Whether its gradients can be compiled."""
        normalized = any(isinstance(regularizer, BatchNorm) for regularizer in self.regularizers)
        plain = self.precision == "float32" and self.class_weights == "none" and not normalized
        return isinstance(self.network, Linear | MLP) and plain

    def canonical(self) -> dict[str, Any]:
        """The spec without its labels, every default spelled out: equal for specs that train the same bits."""
        return self.model_dump(mode="json", exclude={**dict.fromkeys(LABELS, True), "budget": {"max_seconds"}})

    @property
    def spec_hash(self) -> str:
        """SHA-256 of the canonical form, as hexadecimal digits."""
        return digest(self.canonical())

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Seed and member of each run of the job, in the order in which they wait."""
        return [(seed, member) for seed in self.seeds for member in range(self.evaluation.members)]

    @property
    def cohort_key(self) -> str:
        """Equal for specs whose runs can train together as one stacked program."""
        shape = self.canonical()
        del shape["seeds"], shape["analyses"]
        shape["optimizer"] = shared_shape(self.optimizer)
        shape["schedule"] = shared_shape(self.schedule)
        shape["regularizers"] = [shared_shape(r) for r in self.regularizers]
        return digest(shape)


def digest(value: Any) -> str:
    """SHA-256 over JSON with sorted keys and no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
