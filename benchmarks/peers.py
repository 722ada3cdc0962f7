"""The peers: the same training, one run at a time, as people write it by hand."""

import importlib.util
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from models.spec.job import JobSpec
from models.spec.plan import plan
from worker.training.datasets import prepare
from worker.training.randomness import Member


@dataclass(frozen=True)
class Problem:
    """Training rows and sizes of one workload, for a plain PyTorch program."""

    inputs: Tensor
    targets: Tensor
    widths: tuple[int, ...]
    batch_rows: int
    loss: Callable[[Tensor, Tensor], Tensor]

    @classmethod
    def of(cls, spec: JobSpec) -> "Problem":
        data = prepare([spec], [Member(0)], "cpu")
        inputs, targets = data.training.inputs[0, :, :-1].contiguous(), data.training.targets[0]
        classes = data.task == "classification"
        assert spec.network.kind == "mlp"
        return cls(
            inputs,
            targets.argmax(1) if classes else targets,
            (inputs.shape[1], *spec.network.hidden, targets.shape[1]),
            plan(spec).batch_rows,
            nn.functional.cross_entropy if classes else nn.functional.mse_loss,
        )

    def network(self) -> nn.Sequential:
        layers: list[nn.Module] = []
        for i, o in zip(self.widths, self.widths[1:], strict=False):
            layers += [nn.Linear(i, o), nn.ReLU()]
        return nn.Sequential(*layers[:-1])


def bare_loop(problem: Problem, steps: int) -> float:
    """Pre-indexed tensors, one permutation an epoch, torch.optim.Adam: steps per second."""
    network = problem.network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    rows, batch_rows, step = len(problem.inputs), problem.batch_rows, 0
    started = time.perf_counter()
    while step < steps:
        order = torch.randperm(rows)
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
