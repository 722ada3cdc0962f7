"""Regularizers that act on batches and labels, and the masks of dropout, which are drawn with the batches."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.regularizers import Dropout, InputNoise, LabelNoise, LabelSmoothing, Mixup
from worker.training.columns import tensor_column
from worker.training.randomness import DropoutMasks, MixPartners, MixShares, Normals, Purpose, stream


def mislabel(rules: Sequence[LabelNoise], seeds: Sequence[int], targets: Tensor, *, classes: bool) -> Tensor:
    """Targets (K, N, O) with each run's share of wrong labels."""
    rows = targets.cpu().numpy()
    wrong = [_wrong_labels(s, rule.share, y, classes=classes) for s, rule, y in zip(seeds, rules, rows, strict=True)]
    return torch.from_numpy(np.stack(wrong)).to(targets.device)


def _wrong_labels(seed: int, share: float, labels: NDArray[np.float32], *, classes: bool) -> NDArray[np.float32]:
    """One run's labels (N, O), a share of them wrong: another class, or the values of another row."""
    rows, outputs = labels.shape
    generator = stream(seed, Purpose.LABEL_NOISE)
    # Both drawn for every row, so that a larger share only adds to the wrong labels of a smaller one.
    order = generator.permutation(rows)
    shift = generator.integers(1, outputs if classes else rows, size=(rows,))
    chosen = order[: round(share * rows)]
    wrong = labels.copy()
    if classes:
        moved = (labels[chosen].argmax(1) + shift[chosen]) % outputs
        wrong[chosen] = np.eye(outputs, dtype=np.float32)[moved]
    else:
        wrong[chosen] = labels[(chosen + shift[chosen]) % rows]
    return wrong


def smooth(rules: Sequence[LabelSmoothing], targets: Tensor) -> Tensor:
    """Class shares (K, N, C) towards 1 / C."""
    spread = tensor_column([rule.smoothing for rule in rules], targets.device)[..., None]
    return targets * (1 - spread) + spread / targets.shape[2]


def balance(targets: Tensor) -> Tensor:
    """Weights (K, 1, C) of the classes of targets (K, N, C): N / (C · N_c), and 0 for a class without a row."""
    rows = targets.sum(1, keepdim=True)
    return torch.where(rows > 0, targets.shape[1] / (targets.shape[2] * rows), 0)


class BatchChange(ABC):
    """Changes the batches of a block of updates; `width` is how many numbers it draws a batch row."""

    width: int

    @abstractmethod
    def change(self, first: int, inputs: Tensor, targets: Tensor) -> None:
        """Change in place `inputs` (S, K, B, F + 1) and `targets` (S, K, B, O) of the updates after `first`."""

    @abstractmethod
    def select(self, rows: Tensor) -> None:
        """Keep some runs."""


class MixupBlock(BatchChange):
    """Mixup: (x, y) ← (x, y) + (1 − λ) ((x′, y′) − (x, y)), in a form that leaves ones exactly ones."""

    width = 2  # one partner, which takes the room of two numbers

    def __init__(self, rules: Sequence[Mixup], seeds: Sequence[int], batch_rows: int) -> None:
        self._partners = [MixPartners(seed, batch_rows) for seed in seeds]
        self._shares = [MixShares(seed, rule.alpha) for seed, rule in zip(seeds, rules, strict=True)]

    def change(self, first: int, inputs: Tensor, targets: Tensor) -> None:
        last = first + len(inputs)
        partners = torch.from_numpy(np.stack([run.between(first, last) for run in self._partners], 1))
        shares = torch.from_numpy(np.stack([run.between(first, last) for run in self._shares], 1))
        partners, shares = partners.to(inputs.device)[..., None], shares.to(inputs.device)[..., None]
        for values in (inputs, targets):
            values += values.gather(2, partners.expand_as(values)).sub_(values).mul_(shares)

    def select(self, rows: Tensor) -> None:
        keep = rows.tolist()
        self._partners, self._shares = [self._partners[k] for k in keep], [self._shares[k] for k in keep]


class InputNoiseBlock(BatchChange):
    """Input noise: x ← x + σ n."""

    def __init__(
        self, rules: Sequence[InputNoise], seeds: Sequence[int], batch_rows: int, features: int, device: torch.device
    ) -> None:
        self.width = features
        self._runs = [Normals(seed, Purpose.INPUT_NOISE, batch_rows * features) for seed in seeds]
        self._deviations = tensor_column([rule.standard_deviation for rule in rules], device)

    def change(self, first: int, inputs: Tensor, targets: Tensor) -> None:  # noqa: ARG002
        drawn = np.stack([run.between(first, first + len(inputs)) for run in self._runs], 1)
        # The last column is the ones that carry the bias.
        features = inputs[..., :-1]
        features += torch.from_numpy(drawn).to(inputs.device).view_as(features).mul_(self._deviations[..., None])

    def select(self, rows: Tensor) -> None:
        self._runs = [self._runs[k] for k in rows.tolist()]
        self._deviations = self._deviations.index_select(0, rows)


class DropoutBlock:
    """The masks of a cohort, for the updates of a block of steps at once."""

    def __init__(
        self,
        rules: Sequence[Dropout],
        seeds: Sequence[int],
        batch_rows: int,
        widths: Sequence[int],
        device: torch.device,
    ) -> None:
        self._widths = widths
        self._batch_rows = batch_rows
        self._device = device
        numbers = batch_rows * sum(widths)
        self._runs = [DropoutMasks(seed, rule.probability, numbers) for seed, rule in zip(seeds, rules, strict=True)]

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
