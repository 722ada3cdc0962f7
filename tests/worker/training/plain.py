"""One run written out in plain torch.nn and autograd, with every regularizer, from the numbers that the run draws."""

import math
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, mse_loss, softshrink

from models.spec.job import JobSpec
from models.spec.optimizers import SGD, Momentum, Nesterov
from models.spec.plan import plan
from models.spec.regularizers import (
    L1,
    L2,
    Augmentation,
    CutMix,
    Dropout,
    ElasticNet,
    GradientClipping,
    InputNoise,
    LabelNoise,
    LabelSmoothing,
    MaxNorm,
    Mixup,
    WeightNoise,
)
from tests.worker.training.torch_networks import torch_network
from worker.training import cohort_data, networks
from worker.training.randomness import (
    DataOrder,
    DropoutMasks,
    Member,
    MixPartners,
    MixShares,
    Normals,
    Purpose,
    Uniforms,
    stream,
)

R = TypeVar("R")


class Plain:
    """One run by hand, from the same initial weights, batches, masks and noise."""

    def __init__(self, spec: JobSpec, seed: int) -> None:
        self.spec = spec
        self.seed = seed
        self.plan = plan(spec)
        self.classes = spec.dataset.shape.task == "classification"
        data = cohort_data.prepare([spec], [Member(seed)], "cpu")
        self.training = (data.training.inputs[0, :, :-1], self.mislabelled(data.training.targets[0]))
        self.validation = (data.validation.inputs[0, :, :-1], data.validation.targets[0])
        self.network = networks.build(spec)
        self.module = torch_network(spec)
        self.module.load(self.as_torch(self.network.initial(seed), self.network.initial_averages()))
        self.weights = {
            name: parameter
            for name, parameter in self.module.named_parameters()
            if "weight" in name and not name.startswith("norms")
        }
        self.order = DataOrder(seed, self.plan.training_rows)

    def find(self, kind: type[R]) -> R | None:
        return next((r for r in self.spec.regularizers if isinstance(r, kind)), None)

    def mislabelled(self, targets: Tensor) -> Tensor:
        noise = self.find(LabelNoise)
        if noise is None:
            return targets
        rows, choices = len(targets), targets.shape[1] if self.classes else len(targets)
        generator = stream(self.seed, Purpose.LABEL_NOISE)
        order, shift = generator.permutation(rows), generator.integers(1, choices, size=(rows,))
        wrong = targets.clone()
        for row in order[: round(noise.share * rows)]:
            if self.classes:
                wrong[row] = 0
                wrong[row, (int(targets[row].argmax()) + shift[row]) % choices] = 1
            else:
                wrong[row] = targets[(row + shift[row]) % rows]
        return wrong

    def as_torch(self, row: NDArray[np.float32], averages: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return self.network.named(torch.from_numpy(row), torch.from_numpy(averages))

    def masks(self, step: int) -> list[Tensor]:
        dropout = self.find(Dropout)
        if dropout is None:
            return []
        rows = self.plan.batch_rows
        widths = self.network.dropped
        numbers = DropoutMasks(self.seed, dropout.probability, rows * sum(widths)).between(step, step + 1)[0]
        parts = np.split(numbers, np.cumsum([rows * width for width in widths])[:-1])
        return [torch.from_numpy(part).view(rows, width) for part, width in zip(parts, widths, strict=True)]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of targets that nothing has mixed."""
        if not self.classes:
            return mse_loss(outputs, targets)
        smoothing = self.find(LabelSmoothing)
        return cross_entropy(outputs, targets.argmax(1), label_smoothing=smoothing.smoothing if smoothing else 0)

    def batch_loss(self, step: int) -> Tensor:
        epoch, offset = divmod(step, self.plan.steps_per_epoch)
        size = self.plan.batch_rows
        x, y = self.training
        if self.spec.batch_size != "full":
            rows = torch.from_numpy(self.order.epoch(epoch)[offset * size : (offset + 1) * size])
            x, y = x[rows], y[rows]
        share, partners = 1.0, torch.arange(size)
        if augmentation := self.find(Augmentation):
            x = self.augmented(x, augmentation, step)
        if cutmix := self.find(CutMix):
            partners = torch.from_numpy(MixPartners(self.seed, size).at(step))
            x, share = self.cut(x, x[partners], cutmix, step)
        mixup = self.find(Mixup)
        if mixup:
            share = 1 - float(MixShares(self.seed, mixup.alpha).at(step)[0])
            partners = torch.from_numpy(MixPartners(self.seed, size).at(step))
            x = share * x + (1 - share) * x[partners]
        if noise := self.find(InputNoise):
            drawn = torch.from_numpy(Normals(self.seed, Purpose.INPUT_NOISE, x.numel()).at(step))
            x = x + noise.standard_deviation * drawn.view_as(x)
        outputs = self.module(x, self.masks(step))
        if mixup and not self.classes:
            return self.loss(outputs, share * y + (1 - share) * y[partners])
        return share * self.loss(outputs, y) + (1 - share) * self.loss(outputs, y[partners])

    def augmented(self, x: Tensor, rule: Augmentation, step: int) -> Tensor:
        """Row by row, with torch's own grids."""
        drawn = Uniforms(self.seed, Purpose.AUGMENT, len(x) * 6).at(step).reshape(len(x), 6)
        grid = self.spec.dataset.shape.grid
        channels, height, width = (grid[0], 1, grid[1]) if len(grid) == 2 else (*grid, 1, 1, 1)[:3]
        rows = []
        for row, (flip, turn, size, right, down, swing) in zip(x, drawn.tolist(), strict=True):
            moved = row
            if rule.moves:
                angle, scale = math.radians(rule.rotation * (2 * turn - 1)), 1 + rule.zoom * (2 * size - 1)
                rotation = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
                shape = torch.diag(torch.tensor([float(width), float(height)]))
                matrix = shape.inverse() @ rotation @ shape / scale
                if rule.flip and flip < 0.5:
                    matrix[0] *= -1
                shift = 2 * rule.translation * torch.tensor([2 * right - 1, (2 * down - 1) * (height > 1)])
                affine = torch.cat([matrix, shift[:, None]], 1)[None]
                places = affine_grid(affine, [1, channels, height, width], align_corners=False)
                image = row.reshape(1, channels, height, width)
                moved = grid_sample(image, places, padding_mode="border", align_corners=False).flatten()
            rows.append(moved * (1 + rule.amplitude * (2 * swing - 1)))
        return torch.stack(rows)

    def cut(self, x: Tensor, other: Tensor, rule: CutMix, step: int) -> tuple[Tensor, float]:
        """With the other rows' boxes in them, and the share of the area that stayed."""
        part = float(MixShares(self.seed, rule.alpha).at(step)[0])
        drawn = Uniforms(self.seed, Purpose.CUT, 2).at(step)
        grid = self.spec.dataset.shape.grid
        sides, box = grid[1:], []
        for side, place in zip(sides, drawn[-len(sides) :].tolist(), strict=True):
            center, length = math.floor(place * side), side * part ** (1 / len(sides))
            low, high = math.floor(center - length / 2 + 0.5), math.floor(center + length / 2 + 0.5)
            box.append(slice(max(0, low), max(0, min(side, high))))
        images = x.reshape(-1, *grid).clone()
        inside = (slice(None), slice(None), *box)
        images[inside] = other.reshape(-1, *grid)[inside]
        return images.flatten(1), 1 - images[inside][0, 0].numel() / images[0, 0].numel()

    def penalty(self) -> Tensor:
        total = torch.zeros(())
        for regularizer in self.spec.regularizers:
            for weight in self.weights.values():
                absolute, square = weight.abs().sum(), weight.square().sum() / 2
                match regularizer:
                    case L1(proximal=True):
                        total = total + regularizer.weight * absolute.detach()
                    case L1():
                        total = total + regularizer.weight * absolute
                    case L2():
                        total = total + regularizer.weight * square
                    case ElasticNet():
                        r = regularizer.l1_ratio
                        total = total + regularizer.weight * (r * absolute + (1 - r) * square)
        return total

    def optimizer(self) -> torch.optim.Optimizer:
        parameters = list(self.module.parameters())
        match self.spec.optimizer:
            case SGD(learning_rate=rate):
                return torch.optim.SGD(parameters, rate)
            case Momentum(learning_rate=rate, momentum=momentum):
                return torch.optim.SGD(parameters, rate, momentum=momentum)
            case Nesterov(learning_rate=rate, momentum=momentum):
                return torch.optim.SGD(parameters, rate, momentum=momentum, nesterov=True)
        raise AssertionError(self.spec.optimizer)

    @torch.no_grad()
    def perturb(self, step: int) -> list[Tensor]:
        """Add the weight noise; the weights without it."""
        clean = [weight.clone() for weight in self.weights.values()]
        if noise := self.find(WeightNoise):
            drawn = Normals(self.seed, Purpose.WEIGHT_NOISE, self.network.columns).at(step)
            as_torch = self.as_torch(drawn, self.network.initial_averages())
            for name, weight in self.weights.items():
                weight.add_(torch.from_numpy(as_torch[name]), alpha=noise.standard_deviation)
        return clean

    @torch.no_grad()
    def project(self, rate: float) -> None:
        for weight in self.weights.values():
            if (l1 := self.find(L1)) and l1.proximal:
                weight.copy_(softshrink(weight, rate * l1.weight))
            if bound := self.find(MaxNorm):
                weight.copy_(weight.renorm(2, 0, bound.maximum))

    def losses(self, every: int, rates: list[float] | None = None) -> tuple[list[float], list[float]]:
        """Train: the loss of each update, and the validation loss of none and of every so many."""
        optimizer = self.optimizer()
        losses, validation = [], [self.validation_loss()]
        for step in range(self.plan.steps):
            if rates is not None:
                optimizer.param_groups[0]["lr"] = rates[step]
            optimizer.zero_grad()
            clean = self.perturb(step)
            loss = self.batch_loss(step)
            loss.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                for weight, before in zip(self.weights.values(), clean, strict=True):
                    weight.copy_(before)
            penalty = self.penalty()
            if penalty.requires_grad:
                penalty.backward()  # type: ignore[no-untyped-call]
            self.clip()
            optimizer.step()
            self.project(optimizer.param_groups[0]["lr"])
            losses.append(loss.item() + penalty.item())
            if (step + 1) % every == 0:
                validation.append(self.validation_loss())
        return losses, validation

    def clip(self) -> None:
        parameters = list(self.module.parameters())
        match self.find(GradientClipping):
            case GradientClipping(by="norm", maximum=maximum):
                nn.utils.clip_grad_norm_(parameters, maximum)
            case GradientClipping(by="value", maximum=maximum):
                nn.utils.clip_grad_value_(parameters, maximum)

    @torch.no_grad()
    def validation_loss(self) -> float:
        self.module.eval()
        outputs, targets = self.module(self.validation[0]), self.validation[1]
        self.module.train()
        loss = cross_entropy(outputs, targets.argmax(1)) if self.classes else mse_loss(outputs, targets)
        return loss.item()

    def named(self) -> dict[str, Any]:
        return self.module.named()
