"""Regularizers, by the moment at which they act: on the loss, on the network, on time."""

from collections.abc import Sequence
from typing import TypeVar, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.job import JobSpec
from models.spec.plan import plan
from models.spec.regularizers import L1, L2, Dropout, EarlyStopping, ElasticNet
from worker.training.losses import row_sums
from worker.training.networks import Network
from worker.training.randomness import DropoutMasks

R = TypeVar("R")


def find(spec: JobSpec, kind: type[R]) -> R | None:
    """The spec's regularizer of this kind."""
    return next((r for r in spec.regularizers if isinstance(r, kind)), None)


class Penalty:
    """Σ a |θ| + ½ Σ b θ² over the weights, where L1, L2 and elastic net each add to a and b of their run."""

    def __init__(self, specs: Sequence[JobSpec], network: Network, device: torch.device) -> None:
        coefficients = np.array([_coefficients(spec) for spec in specs], np.float32)
        columns = torch.from_numpy(coefficients).to(device)
        mask = network.weight_mask(device)
        # By the kinds in the spec, not by their values: a neighbour's zero must not choose the arithmetic.
        kinds = {type(r) for r in specs[0].regularizers}
        self._absolute = columns[:, :1] * mask if kinds & {L1, ElasticNet} else None
        self._square = columns[:, 1:] * mask if kinds & {L2, ElasticNet} else None
        self._scratch = torch.empty_like(mask.expand(len(specs), -1))

    @staticmethod
    def stands_in(spec: JobSpec) -> bool:
        return any(isinstance(r, L1 | L2 | ElasticNet) for r in spec.regularizers)

    def add(self, theta: Tensor, gradient: Tensor) -> Tensor:
        """Add the penalty's gradient to `gradient` (K, P); the penalty itself, (K,)."""
        penalty = theta.new_zeros(len(theta))
        if self._absolute is not None:
            torch.sign(theta, out=self._scratch)
            gradient.add_(self._scratch.mul_(self._absolute))
            penalty += row_sums(self._scratch.mul_(theta))
        if self._square is not None:
            torch.mul(theta, self._square, out=self._scratch)
            gradient.add_(self._scratch)
            penalty += row_sums(self._scratch.mul_(theta)).mul_(0.5)
        return penalty


def _coefficients(spec: JobSpec) -> tuple[float, float]:
    absolute = square = 0.0
    for regularizer in spec.regularizers:
        match regularizer:
            case L1():
                absolute += regularizer.weight
            case L2():
                square += regularizer.weight
            case ElasticNet():
                absolute += regularizer.weight * regularizer.l1_ratio
                square += regularizer.weight * (1 - regularizer.l1_ratio)
            case Dropout() | EarlyStopping():
                pass
            case _:
                assert_never(regularizer)
    return absolute, square


class DropoutBlock:
    """The masks of a cohort, for the updates of a block of steps at once."""

    def __init__(self, specs: Sequence[JobSpec], seeds: Sequence[int], network: Network, device: torch.device) -> None:
        self._widths = network.hidden
        self._batch_rows = plan(specs[0]).batch_rows
        self._device = device
        self._runs = []
        for spec, seed in zip(specs, seeds, strict=True):
            dropout = find(spec, Dropout)
            assert dropout is not None
            self._runs.append(DropoutMasks(seed, dropout.probability, self._batch_rows * sum(self._widths)))

    @property
    def width(self) -> int:
        """Mask numbers a batch row."""
        return sum(self._widths)

    def between(self, first: int, last: int) -> list[tuple[Tensor, ...]]:
        """For each update one mask (K, B, width) a hidden layer."""
        masks = np.stack([run.between(first, last) for run in self._runs], axis=1)
        steps, runs, _ = masks.shape
        layers, start = [], 0
        for width in self._widths:
            numbers = self._batch_rows * width
            layer = np.ascontiguousarray(masks[:, :, start : start + numbers])
            layers.append(torch.from_numpy(layer).to(self._device).view(steps, runs, self._batch_rows, width).unbind(0))
            start += numbers
        return list(zip(*layers, strict=True))

    def select(self, rows: Tensor) -> None:
        """Keep some runs."""
        self._runs = [self._runs[k] for k in rows.tolist()]


class Patience:
    """Early stopping (Prechelt 1998): counts each run's evaluations without improvement."""

    def __init__(self, specs: Sequence[JobSpec], theta: Tensor) -> None:
        rules = [rule for spec in specs if (rule := find(spec, EarlyStopping))]
        self._patience = np.array([rule.patience for rule in rules])
        self._min_delta = np.array([rule.min_delta for rule in rules])
        self._best = np.full(len(rules), np.inf)
        self._waited = np.zeros(len(rules), np.int64)
        self._weights = theta.clone() if rules[0].restore_best else None

    def hear(self, validation_loss: NDArray[np.float32], theta: Tensor) -> NDArray[np.bool_]:
        """Take in an evaluation, (K,); which runs have run out of patience, (K,)."""
        improved = validation_loss < self._best - self._min_delta
        self._best = np.where(improved, validation_loss, self._best)
        self._waited = np.where(improved, 0, self._waited + 1)
        if self._weights is not None:
            rows = torch.from_numpy(np.flatnonzero(improved)).to(theta.device)
            self._weights[rows] = theta[rows]
        stop: NDArray[np.bool_] = self._waited >= self._patience
        return stop

    def weights(self, theta: Tensor) -> Tensor:
        """The rows to keep at the end: the best where the spec restores them, else the last."""
        return theta if self._weights is None else self._weights

    def select(self, rows: Tensor) -> None:
        """Keep some runs."""
        keep = rows.cpu().numpy()
        self._patience, self._min_delta = self._patience[keep], self._min_delta[keep]
        self._best, self._waited = self._best[keep], self._waited[keep]
        if self._weights is not None:
            self._weights = self._weights.index_select(0, rows)
