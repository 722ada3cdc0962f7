"""Update rules that are not elementwise: a real torch.optim optimizer on the row of one run, which rides alone."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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

    def state(self) -> dict[str, Tensor]:
        tensors, _ = self._taken_apart()
        return {name: tensor[None] for name, tensor in tensors.items()}

    def facts(self) -> dict[str, Any]:
        return {"optimizers": self._taken_apart()[1]}

    def _taken_apart(self) -> tuple[dict[str, Tensor], list[Any]]:
        tensors: dict[str, Tensor] = {}
        facts = [
            {
                "state": [
                    take_apart(optimizer.state.get(view, {}), f"{number}.{place}", tensors)
                    for place, view in enumerate(_parameters_of(optimizer))
                ],
                "groups": [
                    take_apart(_plain_part(group), f"{number}.group.{place}", tensors)
                    for place, group in enumerate(optimizer.param_groups)
                ],
            }
            for number, (optimizer, _) in enumerate(self._optimizers)
        ]
        return tensors, facts

    def restore(self, state: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        # A step that is counted in a tensor is counted on the host.
        own = {name: torch.from_numpy(rows.copy())[0] for name, rows in state.items()}
        tensors = {name: tensor.to(self._device) if tensor.ndim else tensor for name, tensor in own.items()}
        for (optimizer, _), told in zip(self._optimizers, facts["optimizers"], strict=True):
            for view, kept in zip(_parameters_of(optimizer), told["state"], strict=True):
                if kept:
                    optimizer.state[view] = _laid_out_as(view, put_together(kept, tensors))
            for group, values in zip(optimizer.param_groups, told["groups"], strict=True):
                found = put_together(values, tensors)
                group.update({name: tuple(v) if isinstance(group.get(name), tuple) else v for name, v in found.items()})

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


LOOKS_OF_A_SEARCH = 25
"""How often a line search may compute the loss, as in torch's own; by default torch shares 5/4 of that one look among
all iterations of an update, so that one iteration could not search at all, and stood still where its first length was
too long."""


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
            max_eval=LOOKS_OF_A_SEARCH * spec.iterations,
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


def _parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [view for group in optimizer.param_groups for view in group["params"]]


def _plain_part(group: Mapping[str, Any]) -> dict[str, Any]:
    """What optimizers may write down in a group of parameters: counters and the like."""
    kinds = (bool, int, float, str, type(None), Tensor)
    return {
        name: value
        for name, value in group.items()
        if isinstance(value, kinds) or (isinstance(value, tuple | list) and all(isinstance(v, kinds) for v in value))
        if name != "params"
    }


def _laid_out_as(view: Tensor, state: Any) -> dict[str, Any]:
    """State of the shape of its parameter lies in memory as the parameter does, as its optimizer had laid it."""
    return {
        name: torch.empty_like(view, dtype=value.dtype).copy_(value)
        if isinstance(value, Tensor) and value.shape == view.shape
        else value
        for name, value in state.items()
    }


def take_apart(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A tree of an optimizer's state as JSON that refers to tensors by name; these are put into `tensors`.

    Raises:
        TypeError: if there is something in it that is neither.

    """
    match value:
        case Tensor():
            tensors[name] = value.detach()
            return {"tensor": name}
        case dict():
            return {"tree": {key: take_apart(part, f"{name}.{key}", tensors) for key, part in value.items()}}
        case list() | tuple():
            return {"list": [take_apart(part, f"{name}.{place}", tensors) for place, part in enumerate(value)]}
        case None | bool() | int() | float() | str():
            return {"value": value}
        case _:
            raise TypeError(f"{name} of an optimizer's state is a {type(value).__name__}, which cannot be saved")


def put_together(told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    """The tree that was taken apart."""
    match told:
        case {"tensor": name}:
            return tensors[name]
        case {"tree": tree}:
            return {key: put_together(part, tensors) for key, part in tree.items()}
        case {"list": parts}:
            return [put_together(part, tensors) for part in parts]
        case _:
            return told["value"]
