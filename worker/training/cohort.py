"""The state of K runs in training: one row a run, in every matrix."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.spec.job import JobSpec
from models.spec.plan import plan
from models.spec.regularizers import EarlyStopping
from worker.training import networks, optimizers
from worker.training.batches import Batches
from worker.training.cost import threads_for
from worker.training.datasets import prepare
from worker.training.evaluate import Evaluator
from worker.training.regularizers import DropoutBlock, Patience, Penalty, find


class Cohort:
    """Parameters θ and their gradient, both (K, P), with all that belongs to their rows."""

    def __init__(self, specs: Sequence[JobSpec], seeds: Sequence[int], device: torch.device, threads: int) -> None:
        self._specs = list(specs)
        self._threads = threads
        self._network = networks.build(specs[0])
        initial = np.stack([self._network.initial(seed) for seed in seeds])
        self.theta = torch.from_numpy(initial).to(device)
        self.gradient = torch.zeros_like(self.theta)
        self.before = torch.empty_like(self.theta)
        """θ before the last update, where an evaluation follows it."""
        self.rule = optimizers.build([spec.optimizer for spec in specs], self.theta)
        self.patience = Patience(specs, self.theta) if find(specs[0], EarlyStopping) else None
        self._data = prepare(specs, seeds, str(device))
        self._dropout = DropoutBlock(specs, seeds, self._network, device) if self._network.dropout else None
        self.batches = Batches(specs[0], seeds, self._data.training, self._dropout)
        self._bind()

    @property
    def runs(self) -> int:
        return len(self._specs)

    def _bind(self) -> None:
        """Lay everything that points into the matrices anew."""
        torch.set_num_threads(threads_for(self._specs[0], len(self._specs), self._threads))
        self.network = self._network.bind(self.theta, self.gradient, plan(self._specs[0]).batch_rows)
        self.penalty = (
            Penalty(self._specs, self._network, self.theta.device) if Penalty.stands_in(self._specs[0]) else None
        )
        self.evaluator = Evaluator(self._specs[0], self._network, self.theta, self._data)

    def keep(self, columns: Sequence[int]) -> None:
        """Go on with these rows; every matrix shrinks to them."""
        self._specs = [self._specs[k] for k in columns]
        if not columns:
            return  # nothing will be trained on any more
        rows = torch.tensor(columns, device=self.theta.device)
        self.theta, self.gradient, self.before = (
            matrix.index_select(0, rows) for matrix in (self.theta, self.gradient, self.before)
        )
        self.rule.select(rows)
        self._data = self._data.select(rows)
        if self.patience is not None:
            self.patience.select(rows)
        if self._dropout is not None:
            self._dropout.select(rows)
        self.batches.select(rows, self._data.training)
        self._bind()

    def weights(self, column: int) -> dict[str, NDArray[np.float32]]:
        """What a run leaves behind: its parameters, and the units in which it was trained."""
        theta = self.theta if self.patience is None else self.patience.weights(self.theta)
        named = self._network.named(theta[column])
        for name, scales in (("input", self._data.input_scales), ("target", self._data.target_scales)):
            if scales is not None:
                named |= {f"{name}_mean": scales[column].mean, f"{name}_scale": scales[column].scale}
        return named
