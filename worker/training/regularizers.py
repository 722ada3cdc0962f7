"""Regularizers: all that a cohort's specs name, by the moment at which each acts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar, assert_never

from torch import Tensor

from models.spec.job import JobSpec
from models.spec.plan import plan
from models.spec.regularizers import (
    L1,
    L2,
    Augmentation,
    BatchNorm,
    CutMix,
    Dropout,
    EarlyStopping,
    ElasticNet,
    GradientClipping,
    InputNoise,
    LabelNoise,
    LabelSmoothing,
    MaxNorm,
    Mixup,
    WeightNoise,
)
from worker.training import early_stopping
from worker.training.augmentation import AugmentationBlock, CutMixBlock
from worker.training.batch_regularizers import (
    BatchChange,
    DropoutBlock,
    InputNoiseBlock,
    MixupBlock,
    balance,
    mislabel,
    smooth,
)
from worker.training.early_stopping import Stopping
from worker.training.networks import Network
from worker.training.schedules import Rates
from worker.training.weight_regularizers import (
    Clipping,
    NormBound,
    NormClipping,
    Penalty,
    Projection,
    SoftThreshold,
    ValueClipping,
    WeightPerturbation,
)

R = TypeVar("R")

BATCH_ORDER: tuple[type[BatchChange], ...] = (AugmentationBlock, CutMixBlock, MixupBlock, InputNoiseBlock)


def each(specs: Sequence[JobSpec], kind: type[R]) -> list[R]:
    """Each run's regularizer of this kind; empty if they have none."""
    return [regularizer for spec in specs for regularizer in spec.regularizers if isinstance(regularizer, kind)]


@dataclass
class Regularizers:
    """The regularizers of a cohort. What its specs do not name is None or not in its list, and costs nothing."""

    batch: list[BatchChange] = field(default_factory=list)
    """In the order in which they act."""
    dropout: DropoutBlock | None = None
    weight_noise: WeightPerturbation | None = None
    penalty: Penalty | None = None
    clipping: Clipping | None = None
    projections: list[Projection] = field(default_factory=list)
    """In the order in which they act: soft thresholds, then bounds."""
    stopping: Stopping | None = None

    def select(self, rows: Tensor) -> None:
        """Keep some runs."""
        single = (self.dropout, self.weight_noise, self.penalty, self.clipping, self.stopping)
        for part in (*single, *self.batch, *self.projections):
            if part is not None:
                part.select(rows)


def build(  # noqa: C901 - a case for each kind
    specs: Sequence[JobSpec], seeds: Sequence[int], network: Network, state: Sequence[Tensor], rates: Rates
) -> Regularizers:
    """The regularizers of a cohort: its specs share the kinds, `rates` are its learning rates.

    `state` is what they may have to keep or move: θ (K, P), then what else the outputs depend on.
    """
    made, theta, batch_rows = Regularizers(), state[0], plan(specs[0]).batch_rows
    device = theta.device
    for regularizer in specs[0].regularizers:
        match regularizer:
            case L1() | L2() | ElasticNet():
                made.penalty = made.penalty or Penalty(specs, network, device)
                if isinstance(regularizer, L1) and regularizer.proximal:
                    made.projections.insert(0, SoftThreshold(each(specs, L1), rates, network, theta))
            case Dropout():
                made.dropout = DropoutBlock(each(specs, Dropout), seeds, batch_rows, network.dropped, device)
            case BatchNorm():
                pass  # a part of the network
            case WeightNoise():
                made.weight_noise = WeightPerturbation(each(specs, WeightNoise), seeds, network, theta)
            case InputNoise():
                rules, features = each(specs, InputNoise), specs[0].dataset.shape.features
                made.batch.append(InputNoiseBlock(rules, seeds, batch_rows, features, device))
            case Mixup():
                made.batch.append(MixupBlock(each(specs, Mixup), seeds, batch_rows))
            case CutMix():
                made.batch.append(CutMixBlock(each(specs, CutMix), seeds, batch_rows, specs[0].dataset.shape.grid))
            case Augmentation():
                grid = specs[0].dataset.shape.grid
                made.batch.append(AugmentationBlock(each(specs, Augmentation), seeds, batch_rows, grid, device))
            case LabelSmoothing() | LabelNoise():
                pass  # `relabel` sees to them before the first batch
            case GradientClipping():
                kind = NormClipping if regularizer.by == "norm" else ValueClipping
                made.clipping = kind(each(specs, GradientClipping), device)
            case MaxNorm():
                made.projections.append(NormBound(each(specs, MaxNorm), network, device))
            case EarlyStopping():
                made.stopping = early_stopping.build(each(specs, EarlyStopping), state)
            case _:
                assert_never(regularizer)
    made.batch.sort(key=lambda change: BATCH_ORDER.index(type(change)))
    return made


def relabel(specs: Sequence[JobSpec], seeds: Sequence[int], targets: Tensor) -> Tensor | None:
    """The targets to train on, (K, N, O); None where they are those of the data."""
    given = targets
    if noise := each(specs, LabelNoise):
        targets = mislabel(noise, seeds, targets, classes=specs[0].dataset.shape.task == "classification")
    if smoothing := each(specs, LabelSmoothing):
        targets = smooth(smoothing, targets)
    if specs[0].class_weights == "balanced":
        targets = targets * balance(given)
    return None if targets is given else targets
