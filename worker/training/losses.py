"""Losses, cut in two: what a step needs for its gradient, and what can wait until many steps are at hand.

A step keeps its residuals (or log-probabilities) in a row of a block; the losses of the whole block are summed at once.
"""

from typing import Protocol, assert_never

import torch
from torch import Tensor

from models.spec.job import JobSpec
from models.spec.regularizers import CutMix, LabelSmoothing, Mixup


class Loss(Protocol):
    """A mean over rows (and output columns), per run."""

    def keep(self, outputs: Tensor, targets: Tensor, out: Tensor) -> None:
        """Write what gradient and loss are made of, (K, B, O)."""

    def gradient(self, kept: Tensor, targets: Tensor, out: Tensor) -> None:
        """Write the gradient of each run's mean loss with respect to the outputs, (K, B, O)."""

    def sums(self, kept: Tensor, targets: Tensor) -> Tensor:
        """Sum the losses over rows and columns: (…, B, O) to (…)."""

    def terms(self, rows: int, outputs: int) -> int:
        """By how many a sum is divided to become the mean."""


def build(spec: JobSpec) -> Loss:
    """The loss of a spec."""
    match spec.loss:
        case "auto":
            return MeanSquaredError() if spec.dataset.shape.task == "regression" else CrossEntropy()
        case "mse":
            return MeanSquaredError()
        case "huber":
            return Huber()
        case "cross_entropy":
            return CrossEntropy()
        case _:
            assert_never(spec.loss)


def build_for_training(spec: JobSpec) -> Loss:
    """The loss that a step minimizes: for classes, one that takes the soft targets of smoothing and mixing."""
    loss = build(spec)
    if spec.class_weights != "none":
        return WeightedCrossEntropy()
    softens = any(isinstance(regularizer, LabelSmoothing | Mixup | CutMix) for regularizer in spec.regularizers)
    return SoftCrossEntropy() if softens and isinstance(loss, CrossEntropy) else loss


class MeanSquaredError:
    """The mean of e², e = output − target."""

    def keep(self, outputs: Tensor, targets: Tensor, out: Tensor) -> None:
        torch.sub(outputs, targets, out=out)

    def gradient(self, kept: Tensor, targets: Tensor, out: Tensor) -> None:  # noqa: ARG002
        torch.mul(kept, 2 / self.terms(kept.shape[1], kept.shape[2]), out=out)

    def sums(self, kept: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002
        return row_sums(kept * kept, 2)

    def terms(self, rows: int, outputs: int) -> int:
        return rows * outputs


class Huber(MeanSquaredError):
    """The mean of e²/2 where |e| ≤ 1, of |e| − ½ elsewhere (Huber 1964, δ = 1)."""

    def gradient(self, kept: Tensor, targets: Tensor, out: Tensor) -> None:  # noqa: ARG002
        torch.clamp(kept, -1, 1, out=out)
        out.mul_(1 / self.terms(kept.shape[1], kept.shape[2]))

    def sums(self, kept: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002
        # With c = clamp(e, −1, 1), both branches are c (e − c/2).
        clamped = kept.clamp(-1, 1)
        return row_sums((kept - clamped * 0.5).mul_(clamped), 2)


class CrossEntropy:
    """The mean of −log softmax(outputs)[class]; targets are one-hot."""

    def keep(self, outputs: Tensor, targets: Tensor, out: Tensor) -> None:  # noqa: ARG002
        torch.log_softmax(outputs, 2, out=out)

    def gradient(self, kept: Tensor, targets: Tensor, out: Tensor) -> None:
        torch.exp(kept, out=out)
        out.sub_(targets).mul_(1 / kept.shape[1])

    def sums(self, kept: Tensor, targets: Tensor) -> Tensor:
        # Only the class's own column counts; 0 · −∞ elsewhere would make a NaN of a certain prediction.
        return row_sums(torch.where(targets > 0, kept, 0), 2).neg_()

    def terms(self, rows: int, outputs: int) -> int:  # noqa: ARG002
        return rows


class SoftCrossEntropy(CrossEntropy):
    """The mean of −Σ targets log softmax(outputs); the targets of a row are shares of the classes."""

    def sums(self, kept: Tensor, targets: Tensor) -> Tensor:
        # As above: a class without a share counts nothing, however surely the network rules it out.
        return row_sums(torch.where(targets > 0, kept * targets, 0), 2).neg_()


class WeightedCrossEntropy(SoftCrossEntropy):
    """The mean of −Σ weights · targets · log softmax(outputs), the targets of a row being weighted already."""

    def gradient(self, kept: Tensor, targets: Tensor, out: Tensor) -> None:
        torch.exp(kept, out=out)
        out.mul_(targets.sum(2, keepdim=True)).sub_(targets).mul_(1 / kept.shape[1])


def row_sums(values: Tensor, dimensions: int = 1) -> Tensor:
    """Sum over the last dimensions, each sum in the same order of additions whatever stands beside it.

    A reduction to a single number is split over threads, one to several is not: a lone row gets a companion.
    """
    lead = values.shape[: values.ndim - dimensions]
    flat = values.reshape(lead.numel(), -1)
    if len(flat) == 1:
        return flat.expand(2, -1).sum(1)[:1].view(lead)
    return flat.sum(1).view(lead)
