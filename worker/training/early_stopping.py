"""Early stopping: after every evaluation, which runs have trained enough, and which weights they keep."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.regularizers import EarlyStopping

Losses = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Stopping(ABC):
    """A criterion, and the weights of each run's best evaluation."""

    remembers: ClassVar[tuple[str, ...]] = ()
    """The attributes in which a criterion keeps what it has heard, (K,) each."""

    def __init__(self, rules: Sequence[EarlyStopping], state: Sequence[Tensor]) -> None:
        self._rules = list(rules)
        self._best = np.full(len(rules), np.inf)
        self._kept = [matrix.clone() for matrix in state] if rules[0].restore_best else None

    def _of_rules(self, field: str) -> Losses:
        return np.array([getattr(rule, field) for rule in self._rules], np.float64)

    def hear(
        self, validation_loss: NDArray[np.float32], training_loss: NDArray[np.float32], state: Sequence[Tensor]
    ) -> NDArray[np.bool_]:
        """Take in an evaluation, (K,) each, the first before any update; which runs are to stop, (K,).

        `state` are the matrices (K, …) that the evaluation was of.
        """
        improved = validation_loss < self._best - self._of_rules("min_delta")
        self._best = np.where(improved, validation_loss, self._best)
        if self._kept is not None:
            rows = torch.from_numpy(np.flatnonzero(improved)).to(state[0].device)
            for kept, matrix in zip(self._kept, state, strict=True):
                kept[rows] = matrix[rows]
        # A loss of zero makes quotients infinite or NaN; neither needs a warning, and NaN never stops a run.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self._judge(validation_loss.astype(np.float64), training_loss.astype(np.float64), improved)

    @abstractmethod
    def _judge(self, validation: Losses, training: Losses, improved: Flags) -> Flags:
        """Which runs are to stop, (K,)."""

    def _generalization_loss(self, validation: Losses) -> Losses:
        """Prechelt's GL, in percent."""
        percent: Losses = 100 * (validation / self._best - 1)
        return percent

    def kept(self, state: list[Tensor]) -> list[Tensor]:
        """The matrices whose rows are kept at the end: the best where the spec restores them, else the last."""
        return state if self._kept is None else self._kept

    def state(self) -> dict[str, Tensor | NDArray[Any]]:
        """What the evaluations so far have left: a row a run each."""
        live: dict[str, Tensor | NDArray[Any]] = {name: getattr(self, f"_{name}") for name in self.remembers}
        live["best"] = self._best
        return live | {f"kept.{number}": matrix for number, matrix in enumerate(self._kept or ())}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `state` as it was."""
        self._best = state["best"].copy()
        for name in self.remembers:
            setattr(self, f"_{name}", state[name].copy())
        for number, matrix in enumerate(self._kept or ()):
            matrix.copy_(torch.from_numpy(state[f"kept.{number}"]))

    def select(self, rows: Tensor) -> None:
        """Keep some runs."""
        keep = rows.cpu().numpy()
        self._rules = [self._rules[k] for k in keep]
        self._best = self._best[keep]
        if self._kept is not None:
            self._kept = [matrix.index_select(0, rows) for matrix in self._kept]
        self._keep(keep)

    @abstractmethod
    def _keep(self, keep: NDArray[np.int64]) -> None:
        """Keep some runs' state of the criterion."""


class Patience(Stopping):
    """Stops after so many evaluations without improvement."""

    remembers = ("waited",)

    def __init__(self, rules: Sequence[EarlyStopping], state: Sequence[Tensor]) -> None:
        super().__init__(rules, state)
        self._waited = np.zeros(len(rules), np.int64)

    def _judge(self, validation: Losses, training: Losses, improved: Flags) -> Flags:  # noqa: ARG002
        self._waited = np.where(improved, 0, self._waited + 1)
        stop: Flags = self._waited >= self._of_rules("patience")
        return stop

    def _keep(self, keep: NDArray[np.int64]) -> None:
        self._waited = self._waited[keep]


class GeneralizationLoss(Stopping):
    """GL: stops as soon as GL > α."""

    def _judge(self, validation: Losses, training: Losses, improved: Flags) -> Flags:  # noqa: ARG002
        stop: Flags = self._generalization_loss(validation) > self._of_rules("threshold")
        return stop

    def _keep(self, keep: NDArray[np.int64]) -> None:
        pass


class OverStrips(Stopping):
    """A criterion that looks at the end of each strip of k evaluations."""

    def __init__(self, rules: Sequence[EarlyStopping], state: Sequence[Tensor]) -> None:
        super().__init__(rules, state)
        self._strip = rules[0].strip
        self._heard = np.full(len(rules), -1)
        """Evaluations after the one before the first update; the same for every run."""

    def _ends_strip(self) -> bool:
        return bool(self._heard[0] % self._strip == 0)


class ProgressQuotient(OverStrips):
    """PQ: stops at the end of a strip with GL / P > α, where P = 1000 (Σ E_train / (k min E_train) − 1) over the strip.

    Training that no longer moves has P = 0: any GL > 0 stops it.
    """

    remembers = ("heard", "sum", "lowest")

    def __init__(self, rules: Sequence[EarlyStopping], state: Sequence[Tensor]) -> None:
        super().__init__(rules, state)
        self._begin_strip(len(rules))

    def _begin_strip(self, runs: int) -> None:
        self._sum = np.zeros(runs)
        self._lowest = np.full(runs, np.inf)

    def _judge(self, validation: Losses, training: Losses, improved: Flags) -> Flags:  # noqa: ARG002
        self._heard = self._heard + 1
        if self._heard[0] == 0:
            return np.zeros(len(validation), np.bool_)
        self._sum = self._sum + training
        self._lowest = np.minimum(self._lowest, training)
        if not self._ends_strip():
            return np.zeros(len(validation), np.bool_)
        # A mean is never below its lowest part, whatever round-off makes of it.
        progress = 1000 * np.maximum(self._sum / (self._strip * self._lowest) - 1, 0)
        self._begin_strip(len(validation))
        stop: Flags = self._generalization_loss(validation) / progress > self._of_rules("threshold")
        return stop

    def _keep(self, keep: NDArray[np.int64]) -> None:
        self._heard, self._sum, self._lowest = self._heard[keep], self._sum[keep], self._lowest[keep]


class SuccessiveIncreases(OverStrips):
    """UP: stops at the end of the s-th strip in a row that ends with a higher validation loss than the one before."""

    remembers = ("heard", "before", "increases")

    def __init__(self, rules: Sequence[EarlyStopping], state: Sequence[Tensor]) -> None:
        super().__init__(rules, state)
        self._before = np.full(len(rules), np.inf)
        self._increases = np.zeros(len(rules), np.int64)

    def _judge(self, validation: Losses, training: Losses, improved: Flags) -> Flags:  # noqa: ARG002
        self._heard = self._heard + 1
        if not self._ends_strip():
            return np.zeros(len(validation), np.bool_)
        self._increases = np.where(validation > self._before, self._increases + 1, 0)
        self._before = validation
        stop: Flags = self._increases >= self._of_rules("increases")
        return stop

    def _keep(self, keep: NDArray[np.int64]) -> None:
        self._heard, self._before, self._increases = self._heard[keep], self._before[keep], self._increases[keep]


def build(rules: Sequence[EarlyStopping], state: Sequence[Tensor]) -> Stopping:
    """The criterion of a cohort, one rule a run."""
    match rules[0].criterion:
        case "patience":
            return Patience(rules, state)
        case "generalization_loss":
            return GeneralizationLoss(rules, state)
        case "progress_quotient":
            return ProgressQuotient(rules, state)
        case "successive_increases":
            return SuccessiveIncreases(rules, state)
        case _:
            assert_never(rules[0].criterion)
