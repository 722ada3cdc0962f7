"""What a spec asks for, in numbers, before anything is trained or even loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from models.spec.job import MAX_RUNS_PER_JOB, MAX_STEPS, JobSpec
from models.spec.layout import Layout
from models.spec.optimizers import (
    LBFGS,
    SAM,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    GradientDescent,
    Momentum,
    Muon,
    Nesterov,
    Optimizer,
    PytorchOptimizer,
    RMSprop,
)
from models.spec.regularizers import (
    L1,
    L2,
    BatchNorm,
    Dropout,
    EarlyStopping,
    ElasticNet,
    Regularizer,
    WeightNoise,
)
from models.spec.uploads import Stored

MAX_PARAMETERS = 50_000_000
MAX_POINTS_PER_RUN = 1_000_000
MAX_PREDICTIONS = 20_000_000
ACTIVATION_OPERATIONS = 50
"""Multiply-adds in the time that a number takes to be written and read again (two cores, AVX2)."""
AUTO_POINTS = 2_000
MOST_AUTO_EVALUATIONS = 200
FEWEST_AUTO_EVALUATIONS = 20


class PlanError(ValueError):
    """A spec whose parts are each fine but which asks for too much; `pointer` names the place."""

    code = "asks_for_too_much"

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer


@dataclass(frozen=True)
class Plan:
    """The work of one run of a job."""

    training_rows: int
    validation_rows: int
    test_rows: int
    batch_rows: int
    steps: int
    steps_per_epoch: int
    parameters: int
    record_every: int
    evaluate_every: int
    memory_bytes: int
    """Resident memory of one run inside a cohort: its matrices (see `matrices`), activations, its data."""
    streamable_bytes: int = 0
    """Of these, data that can stay on disk and be read batch by batch."""

    @property
    def least_bytes(self) -> int:
        """What a run takes at least, its data on disk where they can be."""
        return self.memory_bytes - self.streamable_bytes


def plan(spec: JobSpec) -> Plan:
    """Count steps, parameters and memory of one run.

    Raises:
        PlanError: if the spec asks for more than any installation allows, or its parts do not fit its data.

    """
    shape = spec.dataset.shape
    training, validation, test = _split_sizes(spec)
    batch = training if spec.batch_size == "full" else spec.batch_size
    if batch > training:
        raise PlanError(
            "/batch_size",
            f'a batch of {batch:,} exceeds the {training:,} training rows: take at most that, or "full"',
        )
    per_epoch = training // batch
    if spec.budget.steps is not None:
        steps = spec.budget.steps
    else:
        assert spec.budget.epochs is not None
        steps = spec.budget.epochs * per_epoch
        if steps > MAX_STEPS:
            raise PlanError("/budget/epochs", f"{steps:,} steps exceed the limit of {MAX_STEPS:,}")
    for index, step in enumerate(spec.record.snapshots):
        if step > steps:
            raise PlanError(f"/record/snapshots/{index}", f"the run ends at step {steps:,}, before this snapshot")
    layers = layout(spec)
    _normalizes_more_than_one(layers, batch)
    parameters = sum(layer.parameters for layer in layers)
    if parameters > MAX_PARAMETERS:
        raise PlanError("/network", f"{parameters:,} parameters exceed the limit of {MAX_PARAMETERS:,}")
    every = ceil(steps / AUTO_POINTS) if spec.record.every_steps == "auto" else spec.record.every_steps
    evaluate = (
        _auto_evaluate_every(steps, per_epoch) if spec.record.evaluate_every == "auto" else spec.record.evaluate_every
    )
    points = steps // every + 10 * (steps // evaluate + 1)
    if points > MAX_POINTS_PER_RUN:
        raise PlanError(
            "/record",
            f"{points:,} points a run exceed the limit of {MAX_POINTS_PER_RUN:,}: record less often",
        )
    rows = max(batch, min(validation, 4_096))
    numbers = (
        matrices(spec) * parameters
        + 2 * rows * (shape.features + sum(layer.activations for layer in layers))
        + (training + validation) * (shape.features + 1)
    )
    return Plan(
        training_rows=training,
        validation_rows=validation,
        test_rows=test,
        batch_rows=batch,
        steps=steps,
        steps_per_epoch=per_epoch,
        parameters=parameters,
        record_every=every,
        evaluate_every=evaluate,
        memory_bytes=4 * numbers,
        streamable_bytes=4 * (training + validation) * shape.features if _streams(spec) else 0,
    )


def _streams(spec: JobSpec) -> bool:
    """Whether its rows lie on disk, and no step needs all of them."""
    return isinstance(spec.dataset, Stored) and spec.batch_size != "full"


def _split_sizes(spec: JobSpec) -> tuple[int, int, int]:
    """Rows in (train, validation, test) of one run."""
    shape = spec.dataset.shape
    training, validation, test = spec.evaluation.sizes(shape.rows)
    if (runs := len(spec.runs)) > MAX_RUNS_PER_JOB:
        raise PlanError(
            "/evaluation",
            f"{len(spec.seeds):,} seeds of {spec.evaluation.members:,} runs each are {runs:,} runs, more than the "
            f"{MAX_RUNS_PER_JOB:,} that a job may have: take fewer of either",
        )
    numbers = spec.evaluation.members * (training + validation) * shape.outputs
    if spec.evaluation.members > 1 and numbers > MAX_PREDICTIONS:
        raise PlanError(
            "/evaluation",
            f"{spec.evaluation.members:,} runs a seed that predict {training + validation:,} rows each are "
            f"{numbers:,} numbers, more than the {MAX_PREDICTIONS:,} that are put together: take fewer runs or rows",
        )
    if not validation:
        raise PlanError("/evaluation/folds", f"{shape.rows - test} rows do not fill so many folds: take fewer")
    if training < 2:
        raise PlanError("/evaluation", f"only {training} of {shape.rows} rows are left to train on")
    return training, validation, test


def layout(spec: JobSpec) -> Layout:
    """The layers of a spec's network.

    Raises:
        PlanError: if the network does not fit its data or its regularizers.

    """
    network, shape = spec.network, spec.dataset.shape
    if misfit := network.misfit(shape):
        raise PlanError("/network", misfit)
    normalized = dropped = False
    for index, regularizer in enumerate(spec.regularizers):
        pointer = f"/regularizers/{index}"
        if isinstance(regularizer, BatchNorm):
            if not network.takes_batch_norm:
                raise PlanError(
                    pointer, f'batch_norm goes into mlp, cnn and cnn1d, not into "{network.kind}": leave it out'
                )
            normalized = True
        if isinstance(regularizer, Dropout):
            if not network.hidden_units:
                raise PlanError(pointer, f'dropout needs hidden units, and "{network.kind}" has none: leave it out')
            dropped = True
    if isinstance(spec.optimizer, Muon) and not network.hidden_units:
        raise PlanError("/optimizer", f'muon needs hidden layers, and "{network.kind}" has none: take "momentum"')
    return network.layout(shape, normalized=normalized, dropped=dropped)


def prediction_numbers(spec: JobSpec) -> int:
    """Count the numbers that the prediction of one row keeps in memory: its inputs and activations."""
    return spec.dataset.shape.features + sum(layer.activations for layer in layout(spec))


def prediction_operations(spec: JobSpec) -> int:
    """Estimate the work of predicting one row, in multiply-adds."""
    multiplications = sum(layer.multiplications for layer in layout(spec))
    return multiplications + ACTIVATION_OPERATIONS * prediction_numbers(spec)


def _normalizes_more_than_one(layers: Layout, batch_rows: int) -> None:
    """A batch of one number has no variance."""
    for layer in layers:
        if layer.statistics and batch_rows * layer.places == 1:
            raise PlanError("/batch_size", "batch normalization needs at least 2 rows a batch")


def matrices(spec: JobSpec) -> int:
    """How often a run in training keeps its parameters, or numbers for each of them.

    Themselves, as they were before the last update, their gradient, and two to reckon in; then what the optimizer and
    the regularizers remember.
    """
    return 5 + optimizer_matrices(spec.optimizer) + _of_regularizers(spec.regularizers)


def optimizer_matrices(optimizer: Optimizer) -> int:
    """Return the number of parameter-sized buffers in an optimizer's state."""
    match optimizer:
        case SAM():
            return 1 + optimizer_matrices(optimizer.base)
        case GradientDescent() | SGD():
            return 0
        case Momentum() | Nesterov() | Adagrad():
            return 1
        case RMSprop(centered=True) | Adam(amsgrad=True) | AdamW(amsgrad=True):
            return 3
        case LBFGS():
            return 2 * optimizer.history + 6
        case PytorchOptimizer():
            return 4  # nobody knows before it is loaded
        case _:
            return 2


def _of_regularizers(regularizers: Sequence[Regularizer]) -> int:
    kept, penalties = 0, set()
    for regularizer in regularizers:
        match regularizer:
            case L1(proximal=True):
                penalties.add("proximal")
                kept += 1
            case L1():
                penalties.add("absolute")
            case L2():
                penalties.add("square")
            case ElasticNet():
                penalties |= {"absolute", "square"}
            case WeightNoise():
                kept += 2
            case EarlyStopping(restore_best=True):
                kept += 1
            case _:
                pass
    # A matrix of coefficients for each part of the penalty, and one in which it is worked out.
    return kept + (1 + len(penalties) if penalties else 0)


def _auto_evaluate_every(steps: int, steps_per_epoch: int) -> int:
    """Once an epoch, unless that is too often for a curve or too seldom for one."""
    often, seldom = ceil(steps / MOST_AUTO_EVALUATIONS), ceil(steps / FEWEST_AUTO_EVALUATIONS)
    return max(often, min(steps_per_epoch, seldom))
