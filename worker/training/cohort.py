"""The state of K runs in training: one row a run, in every matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.evaluation import Holdout
from models.spec.job import JobSpec
from models.spec.plan import plan
from models.spec.regularizers import BatchNorm
from worker.training import ascent, networks, optimizers, regularizers
from worker.training.batch_norm import RunningAverages
from worker.training.batches import Batches
from worker.training.boundary import Saved
from worker.training.cohort_data import prepare
from worker.training.cost import streams, threads_for
from worker.training.evaluate import Evaluator
from worker.training.predictions import Arrays, predictions
from worker.training.programs import Programs
from worker.training.randomness import Member
from worker.training.schedules import Rates
from worker.training.splits import Round
from worker.training.stored import StoredData, StoredRows
from worker.training.threads import threads


class Cohort:
    """Parameters θ and their gradient, both (K, P), with all that belongs to their rows."""

    def __init__(
        self,
        specs: Sequence[JobSpec],
        members: Sequence[Member],
        device: torch.device,
        available: int,
        rounds: Sequence[Round | None] | None = None,
        stored: StoredData | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        """`memory_bytes` are what a cohort may take; data that do not fit in are read from disk as they are needed."""
        self._specs = list(specs)
        seeds = [member.key for member in members]
        self._threads = available
        self._network = networks.build(specs[0])
        initial = np.stack([self._network.initial(seed) for seed in seeds])
        self.theta = torch.from_numpy(initial).to(device)
        self.averages = self._running_averages()
        self.gradient = torch.zeros_like(self.theta)
        self.before = torch.empty_like(self.theta)
        """θ before the last update, where an evaluation follows it."""
        rules = [spec.optimizer for spec in specs]
        rates = Rates(rules, [spec.schedule for spec in specs], plan(specs[0]))
        self.rule = optimizers.build(rules, self.theta, self.gradient, rates, self._network)
        self.ascent = ascent.build(rules, self.theta)
        self.regularizers = regularizers.build(specs, seeds, self._network, self.state, rates)
        from_disk = memory_bytes is not None and streams(specs[0], memory_bytes)
        self._data = prepare(specs, members, str(device), rounds, stored=stored, streams=from_disk)
        # What the runs learn; evaluations go by the data's own targets.
        self._labels = regularizers.relabel(specs, seeds, self._data.training.targets)
        self.batches = Batches(specs[0], seeds, self._data.training, self._labels, self.regularizers)
        self.programs: Programs | None = None
        """What computes the gradients in place of the network's layers."""
        self._bind()

    @property
    def runs(self) -> int:
        return len(self._specs)

    @property
    def state(self) -> list[Tensor]:
        """What a run's outputs depend on: θ, and the running averages where its network has any."""
        return [self.theta] if self.averages is None else [self.theta, self.averages.values]

    def _running_averages(self) -> RunningAverages | None:
        if not self._network.statistics:
            return None
        # A network that normalizes unasked does so with the defaults.
        rules = regularizers.each(self._specs, BatchNorm) or [BatchNorm()] * self.runs
        return RunningAverages(rules, torch.from_numpy(self._network.initial_averages()).to(self.theta.device))

    def _bind(self) -> None:
        """Lay everything that points into the matrices anew."""
        torch.set_num_threads(threads_for(self._specs[0], len(self._specs), self._threads))
        rows = plan(self._specs[0]).batch_rows
        self.network = self._network.bind(self.theta, self.gradient, rows, self.averages)
        self.evaluator = Evaluator(self._specs[0], self._network, self.theta, self.averages, self._data)

    def keep(self, columns: Sequence[int]) -> None:
        """Go on with these rows; every matrix shrinks to them."""
        self._specs = [self._specs[k] for k in columns]
        if not columns:
            return  # nothing will be trained on any more
        rows = torch.tensor(columns, device=self.theta.device)
        self.theta, self.gradient, self.before = (
            matrix.index_select(0, rows) for matrix in (self.theta, self.gradient, self.before)
        )
        if self.averages is not None:
            self.averages.select(rows)
        self.rule.select(rows)
        if self.ascent is not None:
            self.ascent.select(rows)
        self._data = self._data.select(rows)
        self.regularizers.select(rows)
        if self._labels is not None:
            self._labels = self._labels.index_select(0, rows)
        self.batches.select(rows, self._data.training, self._labels)
        self._bind()

    def _live(self) -> dict[str, Tensor | NDArray[Any]]:
        """All that changes with the steps and does not follow from spec, seed and step: a row a run each."""
        live: dict[str, Tensor | NDArray[Any]] = {f"state.{number}": part for number, part in enumerate(self.state)}
        live |= {f"rule.{name}": part for name, part in self.rule.state().items()}
        if self.regularizers.stopping is not None:
            live |= {f"stopping.{name}": part for name, part in self.regularizers.stopping.state().items()}
        return live

    def saved(self, columns: Sequence[int], step: int) -> Saved:
        """A copy of all that these runs need to go on after `step` updates."""
        rows = torch.tensor(columns, device=self.theta.device)
        tensors = {
            name: part.index_select(0, rows).cpu().numpy() if isinstance(part, Tensor) else part[list(columns)]
            for name, part in self._live().items()
        }
        facts = {"rule": self.rule.facts()}
        return Saved(step, tensors, [facts] * len(columns))

    def restore(self, saved: Saved) -> None:
        """Go on from what was saved of these runs, row by row."""

        def under(prefix: str) -> dict[str, NDArray[Any]]:
            return {name.removeprefix(prefix): rows for name, rows in saved.tensors.items() if name.startswith(prefix)}

        for number, part in enumerate(self.state):
            part.copy_(torch.from_numpy(saved.tensors[f"state.{number}"]))
        self.rule.restore(under("rule."), saved.facts[0].get("rule", {}))
        if self.regularizers.stopping is not None:
            self.regularizers.stopping.restore(under("stopping."))

    @property
    def _kept(self) -> list[Tensor]:
        """The state that a run leaves behind."""
        stopping = self.regularizers.stopping
        return self.state if stopping is None else stopping.kept(self.state)

    def predictions(self, column: int) -> Arrays | None:
        """What a run says of every row that it may see, where the evaluation puts several runs together."""
        spec = self._specs[column]
        if isinstance(spec.evaluation, Holdout):
            return None

        def outputs(rows: NDArray[np.int64]) -> NDArray[Any]:
            return self.evaluator.outputs_of(column, self._kept, rows)

        # As the run would say it alone: its products are not cut where they would not be cut there.
        with threads(threads_for(spec, 1, self._threads)):
            return predictions(spec.dataset, self._data.rows, self._data.splits[column], outputs)

    def weights(self, column: int) -> dict[str, NDArray[np.float32]]:
        """What a run leaves behind: its parameters, and the units in which it was trained."""
        named = self._network.named(*(matrix[column] for matrix in self._kept))
        for name, units in (("input", self._data.transformations), ("target", self._data.target_scales)):
            if units is not None:
                named |= units[column].tensors(name)
        return named

    def description(self, column: int) -> dict[str, Any] | None:
        """What has to be known beside the weights to feed raw rows to a run's network; None for data that came with
        Descent.
        """
        if not isinstance(self._data.rows, StoredRows) or self._data.transformations is None:
            return None
        return {
            "inputs": self._data.transformations[column].description(),
            "target": self._data.rows.described_target(),
        }
