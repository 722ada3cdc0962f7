from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.spec.job import JobSpec
from worker.training.boundary import Ending, Leave, Mode, Saved
from worker.training.loop import train
from worker.training.randomness import Member
from worker.training.splits import Round

Directives = Callable[[], Mapping[int, Leave]]


@dataclass
class Heard:
    """A reporter that keeps what it hears, run by run."""

    series: dict[int, dict[str, list[tuple[int, bytes]]]] = field(default_factory=dict)
    snapshots: dict[int, dict[int, dict[str, Any]]] = field(default_factory=dict)
    endings: dict[int, Ending] = field(default_factory=dict)

    modes: list[Mode] = field(default_factory=list)
    saves: list[tuple[list[int], Saved]] = field(default_factory=list)

    def mode(self, mode: Mode) -> None:
        self.modes.append(mode)

    def points(self, metric: str, rows: Sequence[int], steps: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        assert steps.dtype == np.int64
        assert values.dtype == np.float32
        assert values.shape == (len(steps), len(rows))
        for column, row in enumerate(rows):
            assert row not in self.endings, "nothing may be reported after the end"
            points = self.series.setdefault(row, {}).setdefault(metric, [])
            points += [(int(s), v.tobytes()) for s, v in zip(steps, values[:, column], strict=True)]

    def snapshot(self, row: int, step: int, content: dict[str, Any]) -> None:
        self.snapshots.setdefault(row, {})[step] = content

    def saved(self, rows: Sequence[int], saved: Saved) -> None:
        assert not set(rows) & self.endings.keys(), "nothing may be reported after the end"
        self.saves.append((list(rows), saved))

    def ended(self, row: int, ending: Ending) -> None:
        assert row not in self.endings
        self.endings[row] = ending

    def steps(self, row: int, metric: str) -> list[int]:
        return [step for step, _ in self.series[row].get(metric, [])]

    def values(self, row: int, metric: str) -> NDArray[np.float32]:
        return np.frombuffer(b"".join(value for _, value in self.series[row][metric]), np.float32)

    def weights(self, row: int) -> Mapping[str, NDArray[np.float32]]:
        weights = self.endings[row].weights
        assert weights is not None
        return weights

    def bits(self, row: int) -> Any:
        """Everything that a run's neighbours must not change."""
        ending = self.endings[row]
        history = {name: points for name, points in self.series[row].items() if name != "train_seconds"}
        weights = {name: tensor.tobytes() for name, tensor in (ending.weights or {}).items()}
        predictions = {name: array.tobytes() for name, array in (ending.predictions or {}).items()}
        return ending.result, ending.step, history, weights, predictions, ending.description


Train = Callable[..., Heard]


@pytest.fixture
def train_runs() -> Train:
    """Train specs (dictionaries, one for all seeds or one a seed) and return what was heard."""

    def run(
        specs: dict[str, Any] | JobSpec | Sequence[dict[str, Any]],
        seeds: Sequence[int | Member],
        directives: Directives = dict,
        rounds: Sequence[Round | None] | None = None,
        **where: Any,
    ) -> Heard:
        given = [specs] * len(seeds) if isinstance(specs, dict | JobSpec) else specs
        heard = Heard()
        members = [Member(seed) if isinstance(seed, int) else seed for seed in seeds]
        train([JobSpec.model_validate(s) for s in given], members, heard, directives, rounds=rounds, **where)
        return heard

    return run
