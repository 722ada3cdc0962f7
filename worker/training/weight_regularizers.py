"""Regularizers that act on the weights and on their gradients, (K, P) both."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from models.spec.job import JobSpec
from models.spec.regularizers import L1, L2, ElasticNet, GradientClipping, MaxNorm, Regularizer, WeightNoise
from worker.training.columns import Table, tensor_column
from worker.training.losses import row_sums
from worker.training.networks import Network
from worker.training.randomness import Normals, Purpose
from worker.training.schedules import Rates, Values


class Penalty:
    """Σ a |θ| + ½ Σ b θ² over the weights, where L1, L2 and elastic net each add to a and b of their run.

    A proximal L1 adds to the loss, but not to the gradient: `SoftThreshold` sees to it.
    """

    def __init__(self, specs: Sequence[JobSpec], network: Network, device: torch.device) -> None:
        coefficients = np.array([_coefficients(spec) for spec in specs], np.float32)
        columns = torch.from_numpy(coefficients).to(device)
        mask = network.weight_mask(device)
        # By the kinds in the spec, not by their values: a neighbour's zero must not choose the arithmetic.
        absolute, square, proximal = (any(parts) for parts in zip(*map(_parts, specs[0].regularizers), strict=True))
        self._absolute = columns[:, :1] * mask if absolute else None
        self._square = columns[:, 1:2] * mask if square else None
        self._proximal = columns[:, 2:] * mask if proximal else None
        self._scratch = torch.empty_like(mask.expand(len(specs), -1))

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
        if self._proximal is not None:
            torch.abs(theta, out=self._scratch)
            penalty += row_sums(self._scratch.mul_(self._proximal))
        return penalty

    def select(self, rows: Tensor) -> None:
        """Keep some runs."""
        self._absolute, self._square, self._proximal = (
            None if part is None else part.index_select(0, rows)
            for part in (self._absolute, self._square, self._proximal)
        )
        self._scratch = self._scratch[: len(rows)].clone()


def _parts(regularizer: Regularizer) -> tuple[bool, bool, bool]:
    """Whether it adds to the penalty |θ|, θ², and |θ| whose gradient is left to soft thresholding."""
    match regularizer:
        case L1():
            return not regularizer.proximal, False, regularizer.proximal
        case L2():
            return False, True, False
        case ElasticNet():
            return True, True, False
        case _:
            return False, False, False


def _coefficients(spec: JobSpec) -> tuple[float, float, float]:
    absolute = square = proximal = 0.0
    for regularizer in spec.regularizers:
        match regularizer:
            case L1(proximal=True):
                proximal += regularizer.weight
            case L1():
                absolute += regularizer.weight
            case L2():
                square += regularizer.weight
            case ElasticNet():
                absolute += regularizer.weight * regularizer.l1_ratio
                square += regularizer.weight * (1 - regularizer.l1_ratio)
            case _:
                pass
    return absolute, square, proximal


class WeightPerturbation:
    """Weight noise: θ + σ n for one forward and backward pass. It is θ itself that comes back, not a difference."""

    def __init__(self, rules: Sequence[WeightNoise], seeds: Sequence[int], network: Network, theta: Tensor) -> None:
        self._runs = [Normals(seed, Purpose.WEIGHT_NOISE, network.columns) for seed in seeds]
        deviations = tensor_column([rule.standard_deviation for rule in rules], theta.device)
        self._deviations = deviations * network.weight_mask(theta.device)
        self._clean = torch.empty_like(theta)

    def begin(self, theta: Tensor, step: int) -> None:
        """Add the noise of update `step`, counted from 1."""
        self._clean.copy_(theta)
        drawn = np.stack([run.at(step - 1) for run in self._runs])
        theta.add_(torch.from_numpy(drawn).to(theta.device).mul_(self._deviations))

    def end(self, theta: Tensor) -> None:
        """Take it away again."""
        theta.copy_(self._clean)

    def select(self, rows: Tensor) -> None:
        """Keep some runs."""
        self._runs = [self._runs[k] for k in rows.tolist()]
        self._deviations = self._deviations.index_select(0, rows)
        self._clean = self._clean[: len(rows)].clone()


class Clipping(ABC):
    """Gradient clipping, to each run's c."""

    def __init__(self, rules: Sequence[GradientClipping], device: torch.device) -> None:
        self._maximum = tensor_column([rule.maximum for rule in rules], device)

    @abstractmethod
    def clip(self, gradient: Tensor) -> None:
        """Clip `gradient` (K, P) in place."""

    def select(self, rows: Tensor) -> None:
        """Keep some runs."""
        self._maximum = self._maximum.index_select(0, rows)


class NormClipping(Clipping):
    """g ← g min(1, c / (‖g‖ + 10⁻⁶)): torch's clip_grad_norm_, its 10⁻⁶ included."""

    def clip(self, gradient: Tensor) -> None:
        norms = row_sums(gradient * gradient).sqrt_()[:, None]
        gradient.mul_((self._maximum / norms.add_(1e-6)).clamp_(max=1))


class ValueClipping(Clipping):
    """gᵢ into [−c, c]: torch's clip_grad_value_."""

    def clip(self, gradient: Tensor) -> None:
        gradient.clamp_(-self._maximum, self._maximum)


class Projection(ABC):
    """Moves the weights after each update."""

    @abstractmethod
    def project(self, theta: Tensor, step: int) -> None:
        """Move `theta` (K, P) in place after update `step`, counted from 1."""

    @abstractmethod
    def select(self, rows: Tensor) -> None:
        """Keep some runs."""


class SoftThreshold(Projection):
    """The proximal step of L1: θ ← sign(θ) max(|θ| − η w, 0), as θ minus what of it lies within [−η w, η w]."""

    def __init__(self, rules: Sequence[L1], rates: Rates, network: Network, theta: Tensor) -> None:
        self._weights = np.array([rule.weight for rule in rules], np.float64)
        self._rates = rates
        self._mask = network.weight_mask(theta.device)
        self._inner = torch.empty_like(theta)
        self._widths = Table(self._widths_at, theta.device)

    def _widths_at(self, steps: Values) -> Iterable[Values]:
        yield self._rates.at(steps) * self._weights

    def project(self, theta: Tensor, step: int) -> None:
        (width,) = self._widths.at(step)
        upper = self._mask * width
        torch.clamp(theta, -upper, upper, out=self._inner)
        theta.sub_(self._inner)

    def select(self, rows: Tensor) -> None:
        keep = rows.tolist()
        self._weights, self._rates = self._weights[keep], self._rates.select(keep)
        self._inner = self._inner[: len(rows)].clone()
        self._widths = Table(self._widths_at, rows.device)


class NormBound(Projection):
    """Max-norm: w ← w min(1, c / ‖w‖) for each unit's incoming weights."""

    def __init__(self, rules: Sequence[MaxNorm], network: Network, device: torch.device) -> None:
        self._network = network
        self._maximum = tensor_column([rule.maximum for rule in rules], device)

    def project(self, theta: Tensor, step: int) -> None:  # noqa: ARG002
        for weights in self._network.weights(theta):
            # Laid out unit by unit: sums along columns would add in another order for one run than for several.
            norms = row_sums((weights * weights).mT.contiguous()).sqrt_()
            weights.mul_((self._maximum / norms).clamp_(max=1)[:, None])

    def select(self, rows: Tensor) -> None:
        self._maximum = self._maximum.index_select(0, rows)
