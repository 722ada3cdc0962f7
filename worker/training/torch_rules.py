"""Update rules that are not elementwise: a real torch.optim optimizer on the row of one run, which rides alone."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.spec.optimizers import LBFGS, Muon, Optimizer, PytorchOptimizer
from worker.training.blocks import AffineBlock
from worker.training.networks import Network
from worker.training.schedules import Rates
from worker.training.update_rule import Rule


class TorchRule(Rule):
    """An optimizer of torch on views into θ (1, P) and its gradient, its learning rate set for each update."""

    states = 0

    def __init__(
        self, specs: Sequence[Optimizer], theta: Tensor, gradient: Tensor, rates: Rates, network: Network
    ) -> None:
        if len(specs) != 1:
            raise ValueError(f"{specs[0].kind} trains one run at a time, not {len(specs)}")
        super().__init__(specs, theta, rates)
        self._views = self._parameters(network, theta, gradient)
        self._optimizers = self._build()

    def _prepare(self) -> None:
        pass

    def _parameters(self, network: Network, theta: Tensor, gradient: Tensor) -> list[Tensor]:
        """What the optimizer is given: views with their gradients."""
        return _layer_by_layer(network, theta, gradient)

    @abstractmethod
    def _build(self) -> list[tuple[torch.optim.Optimizer, float]]:
        """Optimizers, and by what the run's learning rate is multiplied for each."""

    def _set_rates(self, step: int) -> None:
        rate = float(self.rates.at(np.array([[step]], np.float64))[0, 0])
        for optimizer, factor in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:  # noqa: ARG002 - it has its views
        self._set_rates(step)
        for optimizer, _ in self._optimizers:
            optimizer.step()


class MuonRule(TorchRule):
    """Muon for the weights of hidden layers, AdamW for the last layer, biases and normalizations."""

    def _build(self) -> list[tuple[torch.optim.Optimizer, float]]:
        (spec,) = self._specs
        assert isinstance(spec, Muon)
        *hidden, _ = [view for view in self._views if view.ndim == 2]
        others = [view for view in self._views if not any(view is one for one in hidden)]
        muon = torch.optim.Muon(
            hidden,
            momentum=spec.momentum,
            nesterov=spec.nesterov,
            weight_decay=spec.weight_decay,
            ns_steps=spec.iterations,
        )
        adamw = torch.optim.AdamW(others, weight_decay=0)
        return [(muon, 1.0), (adamw, spec.adamw_learning_rate / spec.learning_rate)]


class LBFGSRule(TorchRule):
    """Limited-memory BFGS, which takes loss and gradient at places of its own choice."""

    def _parameters(self, network: Network, theta: Tensor, gradient: Tensor) -> list[Tensor]:  # noqa: ARG002
        row = theta[0]
        row.grad = gradient[0]
        return [row]

    def _build(self) -> list[tuple[torch.optim.Optimizer, float]]:
        (spec,) = self._specs
        assert isinstance(spec, LBFGS)
        optimizer = torch.optim.LBFGS(
            self._views,
            max_iter=spec.iterations,
            history_size=spec.history,
            line_search_fn="strong_wolfe" if spec.line_search else None,
            tolerance_grad=0,
            tolerance_change=0,
        )
        return [(optimizer, 1.0)]

    def search(self, value: Callable[[], Tensor], step: int) -> None:
        """Update θ; `value` is the loss, and leaves its gradient where the views of it are."""
        self._set_rates(step)
        ((optimizer, _),) = self._optimizers
        optimizer.step(lambda: float(value()))


class PytorchOptimizerRule(TorchRule):
    """Any optimizer of the package pytorch_optimizer, by its name."""

    def _build(self) -> list[tuple[torch.optim.Optimizer, float]]:
        (spec,) = self._specs
        assert isinstance(spec, PytorchOptimizer)
        try:
            package = import_module("pytorch_optimizer")
        except ModuleNotFoundError:
            raise RuntimeError(
                'this worker lacks the package pytorch_optimizer: pip install "descent[optimizers]" where it runs'
            ) from None
        kind: Any = package.load_optimizer(spec.name.lower())
        return [(kind(self._views, lr=spec.learning_rate, **spec.options), 1.0)]


def _layer_by_layer(network: Network, theta: Tensor, gradient: Tensor) -> list[Tensor]:
    """Of one run each layer's weights (out, in), its biases, and the parameters of normalizations, with gradients."""
    views = []
    for (block, values), (_, slopes) in zip(network.blocks(theta), network.blocks(gradient), strict=True):
        weights = block.inputs if isinstance(block, AffineBlock) else 0
        if weights:
            views.append((values[0, :weights].mT, slopes[0, :weights].mT))
        views += zip(values[0, weights:].unbind(0), slopes[0, weights:].unbind(0), strict=True)
    for value, slope in views:
        value.grad = slope
    return [value for value, _ in views]
