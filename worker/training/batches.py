"""Batches, gathered for many steps at once so that a step only takes views."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.job import JobSpec
from models.spec.plan import plan
from worker.training.randomness import DataOrder
from worker.training.regularizers import Regularizers
from worker.training.split_rows import SplitRows, take

BLOCK_BYTES = 8 << 20
FULL_BATCH_STEPS = 64


@dataclass(frozen=True)
class Batch:
    """What one update needs: `inputs` (K, B, F + 1), `targets` and `kept` (K, B, O)."""

    inputs: Tensor
    targets: Tensor
    kept: Tensor
    """Where the loss leaves its residuals or log-probabilities."""
    masks: tuple[Tensor, ...]
    """Dropout's masks, one a hidden layer; empty without dropout."""


@dataclass(frozen=True)
class Block:
    """The batches of the updates first + 1 … last."""

    first: int
    last: int
    batches: list[Batch]
    targets: Tensor
    """Of all its batches: (S, K, B, O)."""
    kept: Tensor
    """Of all its batches: (S, K, B, O)."""


class Batches:
    """Cuts the training rows of K runs into blocks of batches, the rows of each run in its own order."""

    def __init__(
        self,
        spec: JobSpec,
        seeds: Sequence[int],
        training: SplitRows,
        labels: Tensor | None,
        regularizers: Regularizers,
    ) -> None:
        """`labels` (K, N, O) are what the runs learn in place of the targets of `training`."""
        self._plan = plan(spec)
        self._full = spec.batch_size == "full"
        self._orders = [DataOrder(seed, self._plan.training_rows) for seed in seeds]
        self._dropout = regularizers.dropout
        self._changes = regularizers.batch
        self._block: Block | None = None
        self._bind(training, labels)

    def _bind(self, training: SplitRows, labels: Tensor | None) -> None:
        runs, _, columns = training.shape
        self._training = training
        self._targets = training.targets if labels is None else labels
        outputs = self._targets.shape[2]
        expanded = self._full and not self._changes
        numbers = outputs if expanded else columns + 2 * outputs
        numbers += sum(change.width for change in self._changes)
        if self._dropout is not None:
            numbers += self._dropout.width
        self._steps_at_once = max(1, BLOCK_BYTES // (4 * runs * self._plan.batch_rows * numbers))
        most = min(self._steps_at_once, FULL_BATCH_STEPS if self._full else self._plan.steps_per_epoch)
        self._kept = self._targets.new_empty(most, runs, self._plan.batch_rows, outputs)

    def block(self, step: int) -> Block:
        """The block that holds the update after `step` updates."""
        if self._block is None or not self._block.first <= step < self._block.last:
            self._block = self._gather(step)
        return self._block

    def _gather(self, first: int) -> Block:
        epoch, offset = divmod(first, self._plan.steps_per_epoch)
        # A block never crosses an epoch; the full batch has one step an epoch and nothing to gather.
        steps = len(self._kept) if self._full else min(len(self._kept), self._plan.steps_per_epoch - offset)
        last = min(first + steps, self._plan.steps)
        steps = last - first
        if self._full:
            # The same rows every time and a mean over all of them: their order is left as the split drew it.
            inputs = self._training.inputs.expand(steps, -1, -1, -1)
            targets = self._targets.expand(steps, -1, -1, -1)
            if self._changes:
                inputs, targets = (rows.clone(memory_format=torch.contiguous_format) for rows in (inputs, targets))
        else:
            rows = self._rows_of(epoch, offset, steps)
            inputs = self._training.gather(rows)
            targets = take(self._targets, rows)
            self._expect_after(last)
        for change in self._changes:
            change.change(first, inputs, targets)
        masks = [()] * steps if self._dropout is None else self._dropout.between(first, last)
        kept = self._kept[:steps]
        batches = [
            Batch(*parts) for parts in zip(inputs.unbind(0), targets.unbind(0), kept.unbind(0), masks, strict=True)
        ]
        return Block(first, last, batches, targets, kept)

    def _rows_of(self, epoch: int, offset: int, steps: int) -> NDArray[np.int64]:
        """Row numbers (S, K, B) of the batches of some steps of an epoch."""
        rows = self._plan.batch_rows
        start = offset * rows
        orders = np.stack([order.epoch(epoch)[start : start + steps * rows] for order in self._orders])
        return orders.reshape(len(orders), steps, rows).swapaxes(0, 1)

    def _expect_after(self, step: int) -> None:
        """Say which rows the next block needs."""
        if step < self._plan.steps:
            epoch, offset = divmod(step, self._plan.steps_per_epoch)
            steps = min(len(self._kept), self._plan.steps_per_epoch - offset, self._plan.steps - step)
            self._training.expect(self._rows_of(epoch, offset, steps))

    def select(self, rows: Tensor, training: SplitRows, labels: Tensor | None) -> None:
        """Keep some runs, whose rows are `training` and whose labels are `labels`."""
        self._orders = [self._orders[k] for k in rows.tolist()]
        self._block = None
        self._bind(training, labels)
