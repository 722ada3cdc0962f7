"""What the chaos suite trains, and what it must come to: trained in peace, by the engine alone."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.spec.job import JobSpec
from models.storage import Storage
from models.tables import WEIGHTS
from worker import artifacts
from worker.training.boundary import Ending, Mode, Saved
from worker.training.loop import train
from worker.training.randomness import Member

Series = dict[str, tuple[bytes, bytes]]
"""Per metric: its steps and its values, as the bytes of int32 and float32."""

WALL_CLOCK = frozenset({"train_seconds"})
"""Metrics that no two runs share."""

SEEDS = 3

_SMALL = {"kind": "mlp", "hidden": [16, 16]}


def _spec(dataset: str, optimizer: Any, steps: int, **more: Any) -> dict[str, Any]:
    return {"dataset": dataset, "network": _SMALL, "optimizer": optimizer, "budget": {"steps": steps}} | more


SPECS = [
    _spec("sine", {"kind": "adam", "learning_rate": 0.01}, 40_000),
    _spec("sine", "momentum", 16_000, regularizers=["dropout", {"kind": "early_stopping", "patience": 60}]),
    _spec("breast_cancer", "adamw", 20_000, regularizers=["batch_norm"]),
    _spec("digits", "sgd", 8_000, schedule="cosine"),
    _spec("breast_cancer", "rmsprop", 5_000, evaluation={"kind": "k_fold", "folds": 3}),
    _spec("sine", "lbfgs", 300),
    _spec("sine", "sam", 8_000, regularizers=["weight_noise"]),
    _spec("sine", "nadam", 30_000),
]
"""Some seconds of training each, with every kind of state."""


def spec_of(number: int) -> dict[str, Any]:
    """The spec of the job of this number: all kinds in turn, with one of a few seeds."""
    return SPECS[number % len(SPECS)] | {"seeds": [number // len(SPECS) % SEEDS]}


@dataclass(frozen=True)
class Reference:
    """What a run must come to."""

    weights: str
    """SHA-256 of the file."""
    series: Series


class _Heard:
    """Keeps what the engine says of one run."""

    ending: Ending

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float32]]]] = {}

    def mode(self, mode: Mode) -> None: ...
    def snapshot(self, row: int, step: int, content: dict[str, Any]) -> None: ...
    def saved(self, rows: Sequence[int], saved: Saved) -> None: ...

    def ended(self, row: int, ending: Ending) -> None:
        assert row == 0
        self.ending = ending

    def points(self, metric: str, rows: Sequence[int], steps: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        assert list(rows) == [0]
        self._parts.setdefault(metric, []).append((steps, values[:, 0]))

    def series(self) -> Series:
        return {
            metric: as_bytes(np.concatenate([s for s, _ in parts]), np.concatenate([v for _, v in parts]))
            for metric, parts in self._parts.items()
        }


def as_bytes(steps: NDArray[Any], values: NDArray[Any]) -> tuple[bytes, bytes]:
    return np.asarray(steps, "<i4").tobytes(), np.asarray(values, "<f4").tobytes()


Members = Mapping[int, Reference]
"""What the runs of one seed must come to, by their member."""


def trained_in_peace(spec: Mapping[str, Any], folder: Path) -> dict[int, dict[int, Reference]]:
    """What each run of a spec comes to, by seed and then member; its files are written under the folder."""
    torch.set_num_threads(1)
    wanted = JobSpec.model_validate(spec)
    storage = Storage(str(folder))
    found: dict[int, dict[int, Reference]] = {}
    for seed, member in wanted.runs:
        heard = _Heard()
        train([wanted], [Member(seed, member)], heard, dict)
        weights = heard.ending.weights
        assert weights is not None
        file = artifacts.store(storage, f"{wanted.spec_hash[:12]}-{seed}-{member}", 0, WEIGHTS, weights)
        with storage.open(file.storage_key) as content:
            digest = hashlib.sha256(content.read()).hexdigest()
        found.setdefault(seed, {})[member] = Reference(digest, heard.series())
    return found


def references_for(specs: Sequence[Mapping[str, Any]], folder: Path) -> list[dict[int, dict[int, Reference]]]:
    """What the runs of each of these specs come to, trained in processes of their own, without any disturbance."""
    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        return list(processes.map(trained_in_peace, specs, (folder / str(number) for number in range(len(specs)))))


def references_of_jobs(jobs: int, folder: Path) -> list[Members]:
    """What each of the first jobs must come to."""
    distinct = min(jobs, len(SPECS) * SEEDS)
    found = references_for([spec_of(number) for number in range(distinct)], folder)
    return [next(iter(found[number % distinct].values())) for number in range(jobs)]
