"""The peers: the same training, one run at a time, as people write it by hand."""

import importlib.util
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from models.spec.job import JobSpec
from models.spec.networks import CNN, MLP
from models.spec.plan import plan
from models.spec.regularizers import Dropout
from worker.training.cohort_data import prepare
from worker.training.randomness import Member


@dataclass(frozen=True)
class Problem:
    """Training rows and sizes of one workload, for a plain PyTorch program."""

    spec: JobSpec
    inputs: Tensor
    targets: Tensor
    batch_rows: int
    loss: Callable[[Tensor, Tensor], Tensor]

    @classmethod
    def of(cls, spec: JobSpec, device: str = "cpu") -> "Problem":
        data = prepare([spec], [Member(0)], device)
        inputs, targets = data.training.inputs[0, :, :-1].contiguous(), data.training.targets[0]
        classes = data.task == "classification"
        return cls(
            spec,
            inputs,
            targets.argmax(1) if classes else targets,
            plan(spec).batch_rows,
            nn.functional.cross_entropy if classes else nn.functional.mse_loss,
        )

    @property
    def widths(self) -> tuple[int, ...]:
        """Of a perceptron."""
        assert isinstance(self.spec.network, MLP)
        shape = self.spec.dataset.shape
        return (shape.features, *self.spec.network.hidden, shape.outputs)

    def network(self) -> nn.Sequential:
        network = self._convolutional() if isinstance(self.spec.network, CNN) else self._perceptron()
        return network.to(self.inputs.device)

    def _perceptron(self) -> nn.Sequential:
        kinds = {regularizer.kind: regularizer for regularizer in self.spec.regularizers}
        dropout = kinds.get("dropout")
        *hidden, last = pairwise(self.widths)
        layers: list[nn.Module] = []
        for i, o in hidden:
            layers.append(nn.Linear(i, o, bias="batch_norm" not in kinds))
            if "batch_norm" in kinds:
                layers.append(nn.BatchNorm1d(o))
            layers.append(nn.ReLU())
            if isinstance(dropout, Dropout):
                layers.append(nn.Dropout(dropout.probability))
        return nn.Sequential(*layers, nn.Linear(*last))

    def _convolutional(self) -> nn.Sequential:
        network, shape = self.spec.network, self.spec.dataset.shape
        assert isinstance(network, CNN)
        layers: list[nn.Module] = [nn.Unflatten(1, shape.grid)]
        for i, o in pairwise((shape.grid[0], *network.channels)):
            layers += [nn.Conv2d(i, o, network.kernels[0], network.stride, network.padding), nn.ReLU()]
            layers.append(nn.MaxPool2d(network.pool))
        features = nn.Sequential(*layers)(torch.zeros(1, shape.features)).numel()
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, shape.outputs))


def bare_loop(problem: Problem, steps: int) -> float:
    """Pre-indexed tensors, one permutation an epoch, torch.optim.Adam: steps per second."""
    network = problem.network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    rows, batch_rows, step = len(problem.inputs), problem.batch_rows, 0
    started = time.perf_counter()
    while step < steps:
        order = torch.randperm(rows, device=problem.inputs.device)
        for start in range(0, rows - batch_rows + 1, batch_rows):
            chosen = order[start : start + batch_rows]
            loss = problem.loss(network(problem.inputs[chosen]), problem.targets[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            step += 1
    return step / (time.perf_counter() - started)


def data_loader_loop(problem: Problem, steps: int) -> float:
    """A shuffling DataLoader, and loss.item() at every step: steps per second."""
    network = problem.network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    loader = DataLoader(
        TensorDataset(problem.inputs, problem.targets), problem.batch_rows, shuffle=True, drop_last=True
    )
    losses: list[float] = []
    started = time.perf_counter()
    while len(losses) < steps:
        for inputs, targets in loader:
            loss = problem.loss(network(inputs), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
    return len(losses) / (time.perf_counter() - started)


def has_lightning() -> bool:
    return importlib.util.find_spec("lightning") is not None


def lightning_trainer(problem: Problem, steps: int) -> float:
    """Lightning's Trainer with logging, checkpoints and bars off: steps per second."""
    import lightning

    class Module(lightning.LightningModule):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = problem.network()

        def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            return problem.loss(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-2)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    loader = DataLoader(
        TensorDataset(problem.inputs, problem.targets), problem.batch_rows, shuffle=True, drop_last=True
    )
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        trainer.fit(Module(), loader)
        return steps / (time.perf_counter() - started)
