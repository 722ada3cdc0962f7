"""The first half of sharpness-aware minimization: from θ up to the worst point nearby, and back."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.spec.optimizers import SAM, Optimizer
from worker.training.columns import tensor_column
from worker.training.losses import row_sums


class Ascent:
    """θ + ρ g / ‖g‖, or θ + ρ θ² g / ‖θ g‖ if adaptive, for each of K runs. It is θ itself that comes back."""

    def __init__(self, specs: Sequence[SAM], theta: Tensor) -> None:
        self._adaptive = specs[0].adaptive
        self._rho = tensor_column([spec.rho for spec in specs], theta.device)
        self._origin = torch.empty_like(theta)

    def climb(self, theta: Tensor, gradient: Tensor) -> None:
        """Move `theta` (K, P) by its `gradient` in place."""
        self._origin.copy_(theta)
        direction = gradient * theta if self._adaptive else gradient
        norms = row_sums(direction * direction).sqrt_()[:, None]
        if self._adaptive:
            direction = direction * theta
        # At a stationary point there is nowhere to go.
        theta.addcmul_(direction, self._rho / norms.add_(1e-12))

    def come_back(self, theta: Tensor) -> None:
        """Undo it."""
        theta.copy_(self._origin)

    def select(self, rows: Tensor) -> None:
        """Keep some runs."""
        self._rho = self._rho.index_select(0, rows)
        self._origin = self._origin[: len(rows)].clone()


def build(specs: Sequence[Optimizer], theta: Tensor) -> Ascent | None:
    """The ascent of a cohort whose optimizer is sharpness-aware; None for any other."""
    aware = [spec for spec in specs if isinstance(spec, SAM)]
    return Ascent(aware, theta) if aware else None
