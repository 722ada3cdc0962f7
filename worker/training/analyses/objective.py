"""The loss of K runs, each on rows of its own, as a function of their parameters; and its derivatives.

It is the loss of the evaluations: without penalties, smoothing, weights of classes or anything else that only training
knows. Rows and points are cut into chunks, so that what autograd keeps stays within bounds.
"""

from collections.abc import Callable, Iterator
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.nn import functional

from models.spec.job import JobSpec
from worker.training import losses
from worker.training.analyses.networks import Weights, outputs
from worker.training.losses import CrossEntropy, Huber, Loss
from worker.training.networks import Network

CHUNK_NUMBERS = 1 << 22
"""Activations held at once: 32 MiB, of which a second derivative keeps some four. More would not be faster."""

KEPT_NUMBERS = 1 << 25
"""Activations of all rows up to which Hessian-vector products keep what they go through: a GiB altogether."""

FEWEST_ROWS = 16

Product = Callable[[Tensor], Tensor]
"""Of each run's Hessian with its own vector, (K, P) to (K, P)."""


class Objective:
    """The mean losses of K runs over R rows each; everything in float64."""

    def __init__(self, spec: JobSpec, network: Network, weights: Weights, inputs: Tensor, targets: Tensor) -> None:
        """`inputs` are (K, R, F), `targets` (K, R, O)."""
        self._spec, self._network, self._weights = spec, network, weights
        self._inputs, self._targets = inputs, targets
        self._loss = losses.build(spec)
        self._numbers = spec.dataset.shape.features + sum(layer.activations for layer in network.layout)

    @property
    def theta(self) -> Tensor:
        """The trained parameters (K, P)."""
        return self._weights.theta

    @property
    def targets(self) -> Tensor:
        """(K, R, O), one-hot for classes."""
        return self._targets

    @property
    def runs(self) -> int:
        return len(self._targets)

    @property
    def rows(self) -> int:
        return self._targets.shape[1]

    def of(self, first: int, last: int) -> "Objective":
        """That of runs `first` … `last` − 1 alone."""
        part = slice(first, last)
        weights = self._weights.of(part)
        return Objective(self._spec, self._network, weights, self._inputs[part], self._targets[part])

    def on(self, rows: Tensor) -> "Objective":
        """That of chosen rows (K, B) of each run."""
        places = rows[..., None]
        inputs, targets = (torch.take_along_dim(part, places, 1) for part in (self._inputs, self._targets))
        return Objective(self._spec, self._network, self._weights, inputs, targets)

    @cached_property
    def losses(self) -> Tensor:
        """Of the trained parameters, (K,)."""
        return self.scores(self.theta[:, None])[0][:, 0]

    def outputs(self) -> Tensor:
        """What the trained networks say of all rows, (K, R, O)."""
        with torch.no_grad():
            return torch.cat([self._said(self.theta, chunk) for chunk in self._chunks()], 1)

    def gradients(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The losses (K,) at parameters (K, P), and their gradients (K, P)."""
        leaf = theta.detach().requires_grad_()
        value, gradient = theta.new_zeros(len(theta)), torch.zeros_like(theta)
        for chunk in self._chunks():
            part = self._part(leaf, chunk)
            gradient += torch.autograd.grad(part.sum(), leaf)[0]
            value += part.detach()
        return value, gradient

    def products(self, theta: Tensor) -> Product:
        """Hessian-vector products at parameters (K, P), by differentiating the gradient once more (Pearlmutter 1994).

        What they are differentiated through is kept where it is not too much, and made anew each time where it is.
        """
        leaf = theta.detach().requires_grad_()
        chunks = list(self._chunks())

        def gradient(chunk: slice) -> Tensor:
            # Runs do not see each other: the gradient of the sum is each run's own.
            return torch.autograd.grad(self._part(leaf, chunk).sum(), leaf, create_graph=True)[0]

        keeps = self.runs * self.rows * self._numbers <= KEPT_NUMBERS
        kept = [gradient(chunk) for chunk in chunks] if keeps else None

        def product(vectors: Tensor) -> Tensor:
            total = torch.zeros_like(vectors)
            for part in kept or map(gradient, chunks):
                total += torch.autograd.grad(part, leaf, vectors, retain_graph=keeps)[0]
            return total

        return product

    def scores(self, points: Tensor, averages: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Losses, and shares of rows whose likeliest class is theirs, both (K, G), at G points for each run.

        `points` are (K, G, P); `averages` (K, G, S) go with them, by default those of the trained networks. Shares mean
        nothing for a regression.
        """
        count = points.shape[1]
        if averages is None:
            averages = self._weights.averages[:, None].expand(-1, count, -1)
        loss, share = points.new_zeros(self.runs, count), points.new_zeros(self.runs, count)
        at_points = torch.func.vmap(partial(outputs, self._network), in_dims=(0, 0, None, None))
        with torch.no_grad():
            for chunk in self._chunks(count):
                inputs, targets = self._inputs[:, chunk], self._targets[:, None, chunk]
                said = torch.func.vmap(at_points)(points, averages, self._weights.epsilon, inputs)
                loss += of_rows(self._loss, said, targets).sum(2)
                share += targets.expand_as(said).gather(3, said.argmax(3, keepdim=True)).sum((2, 3))
        return loss / self.rows, share / self.rows

    def points_at_once(self, count: int) -> Iterator[slice]:
        """Divide `count` points of each run into parts that are worth evaluating at once."""
        step = max(1, CHUNK_NUMBERS // (self.runs * self.rows * self._numbers))
        return (slice(start, min(start + step, count)) for start in range(0, count, step))

    def _chunks(self, points: int = 1) -> Iterator[slice]:
        step = max(FEWEST_ROWS, CHUNK_NUMBERS // (self.runs * points * self._numbers))
        return (slice(start, min(start + step, self.rows)) for start in range(0, self.rows, step))

    def _said(self, theta: Tensor, chunk: slice) -> Tensor:
        one = partial(outputs, self._network)
        weights = self._weights
        said: Tensor = torch.func.vmap(one)(theta, weights.averages, weights.epsilon, self._inputs[:, chunk])
        return said

    def _part(self, theta: Tensor, chunk: slice) -> Tensor:
        """What a chunk of rows adds to the losses, (K,)."""
        return of_rows(self._loss, self._said(theta, chunk), self._targets[:, chunk]).sum(1) / self.rows


def of_rows(loss: Loss, said: Tensor, targets: Tensor) -> Tensor:
    """The loss of each row, (…, R, O) to (…, R); the mean over rows is the loss of an evaluation."""
    match loss:
        case CrossEntropy():
            return -(functional.log_softmax(said, -1) * targets).sum(-1)
        case Huber():
            return functional.huber_loss(said, targets.expand_as(said), reduction="none").mean(-1)
        case _:
            return (said - targets).square().mean(-1)
