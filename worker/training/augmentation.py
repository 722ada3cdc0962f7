"""Changes of a batch that go by where the features lie: images and series moved, and cut into each other."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from models.spec.regularizers import Augmentation, CutMix
from worker.training.batch_regularizers import BatchChange
from worker.training.columns import tensor_column
from worker.training.randomness import MixPartners, MixShares, Purpose, Uniforms

Grid = tuple[int, ...]
"""(channels, height, width) or (channels, length); empty where the order of the features means nothing."""


def _sides(grid: Grid) -> tuple[int, int]:
    """Height and width; a series is of height 1."""
    return (1, grid[1]) if len(grid) == 2 else (grid[1], grid[2])


class AugmentationBlock(BatchChange):
    """Each row flipped, rotated, zoomed, shifted and scaled by numbers of its own."""

    NUMBERS = 6
    """Drawn for each row: flip, rotation, zoom, two shifts, amplitude."""

    def __init__(
        self, rules: Sequence[Augmentation], seeds: Sequence[int], batch_rows: int, grid: Grid, device: torch.device
    ) -> None:
        self._rule, self._grid, self._rows = rules[0], grid, batch_rows
        self._runs = [Uniforms(seed, Purpose.AUGMENT, batch_rows * self.NUMBERS) for seed in seeds]
        self._amplitudes = tensor_column([rule.amplitude for rule in rules], device)[..., None]
        # The places to sample from, and what is sampled.
        self.width = (2 + 2 * grid[0]) * int(np.prod(grid[1:])) if self._rule.moves else self.NUMBERS

    def change(self, first: int, inputs: Tensor, targets: Tensor) -> None:  # noqa: ARG002
        drawn = np.stack([run.between(first, first + len(inputs)) for run in self._runs], 1)
        drawn = drawn.reshape(*drawn.shape[:2], self._rows, self.NUMBERS)
        features = inputs[..., :-1]  # the last column is the ones that carry the bias
        if self._rule.moves:
            features.copy_(self._moved(features, _affine_maps(self._rule, drawn[..., :5], _sides(self._grid))))
        swing = torch.from_numpy((2 * drawn[..., 5:] - 1).astype(np.float32)).to(inputs.device)
        features *= swing.mul_(self._amplitudes).add_(1)

    def _moved(self, features: Tensor, maps: NDArray[np.float32]) -> Tensor:
        height, width = _sides(self._grid)
        entries = torch.from_numpy(maps).to(features.device).view(-1, 6, 1, 1).unbind(1)
        # Centers of the pixels, the sides reaching from −1 to 1.
        y = (2 * torch.arange(height, device=features.device) + 1)[:, None] / height - 1
        x = (2 * torch.arange(width, device=features.device) + 1) / width - 1
        along_x, along_y = (a * x + b * y + c for a, b, c in (entries[:3], entries[3:]))
        places = torch.stack([along_x, along_y], 3)
        images = features.reshape(-1, self._grid[0], height, width)
        moved = grid_sample(images, places, mode="bilinear", padding_mode="border", align_corners=False)
        return moved.view(features.shape)

    def select(self, rows: Tensor) -> None:
        self._runs = [self._runs[k] for k in rows.tolist()]
        self._amplitudes = self._amplitudes.index_select(0, rows)


def _affine_maps(rule: Augmentation, drawn: NDArray[np.float64], sides: tuple[int, int]) -> NDArray[np.float32]:
    """For each row the map from its pixels to where they are sampled: (…, 5) to (…, 6), as (2, 3) row by row."""
    swing = 2 * drawn - 1
    mirrored = np.where(rule.flip & (drawn[..., 0] < 0.5), -1.0, 1.0)
    angle, size = np.deg2rad(rule.rotation) * swing[..., 1], 1 + rule.zoom * swing[..., 2]
    height, width = sides
    cosine, sine = np.cos(angle) / size, np.sin(angle) / size
    shifts = 2 * rule.translation * swing[..., 3:5]
    maps = np.stack(
        [
            mirrored * cosine,
            -mirrored * sine * height / width,
            shifts[..., 0],
            sine * width / height,
            cosine,
            shifts[..., 1] if height > 1 else np.zeros_like(angle),
        ],
        -1,
    )
    return maps.astype(np.float32)


class CutMixBlock(BatchChange):
    """A box of another row in each row, the same box for the whole batch."""

    width = 2  # one partner, which takes the room of two numbers

    def __init__(self, rules: Sequence[CutMix], seeds: Sequence[int], batch_rows: int, grid: Grid) -> None:
        self._channels, self._sides = grid[0], _sides(grid)
        self._partners = [MixPartners(seed, batch_rows) for seed in seeds]
        self._shares = [MixShares(seed, rule.alpha) for seed, rule in zip(seeds, rules, strict=True)]
        self._centers = [Uniforms(seed, Purpose.CUT, 2) for seed in seeds]

    def change(self, first: int, inputs: Tensor, targets: Tensor) -> None:
        last = first + len(inputs)
        partners = np.stack([run.between(first, last) for run in self._partners], 1)
        shares = np.stack([run.between(first, last)[:, 0] for run in self._shares], 1)
        centers = np.stack([run.between(first, last) for run in self._centers], 1)
        boxes = _boxes(shares, centers, self._sides)
        replaced = boxes.mean((2, 3), dtype=np.float64).astype(np.float32)
        other = torch.from_numpy(partners).to(inputs.device)[..., None]
        mask = torch.from_numpy(boxes).to(inputs.device).flatten(2).repeat(1, 1, self._channels)[:, :, None]
        features = inputs[..., :-1]
        features.copy_(torch.where(mask, features.gather(2, other.expand_as(features)), features))
        share = torch.from_numpy(replaced).to(inputs.device)[..., None, None]
        targets += targets.gather(2, other.expand_as(targets)).sub_(targets).mul_(share)

    def select(self, rows: Tensor) -> None:
        keep = rows.tolist()
        self._partners, self._shares = [self._partners[k] for k in keep], [self._shares[k] for k in keep]
        self._centers = [self._centers[k] for k in keep]


def _boxes(shares: NDArray[np.float32], centers: NDArray[np.float64], sides: tuple[int, int]) -> NDArray[np.bool_]:
    """Boxes of these shares (S, K) of the area around the centers (S, K, 2), cut at the border: (S, K, H, W)."""
    axes = [side > 1 for side in sides]
    spans = []
    for side, is_cut, drawn in zip(sides, axes, (centers[..., 0], centers[..., 1]), strict=True):
        length = side * shares.astype(np.float64) ** (1 / sum(axes)) if is_cut else np.full(shares.shape, 2.0)
        center = np.floor(drawn * side)
        low, high = np.floor(center - length / 2 + 0.5), np.floor(center + length / 2 + 0.5)
        place = np.arange(side)
        spans.append((place >= low[..., None]) & (place < high[..., None]))
    boxes: NDArray[np.bool_] = spans[0][..., :, None] & spans[1][..., None, :]
    return boxes
