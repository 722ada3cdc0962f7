"""The engine against plain PyTorch: ratios of model-steps per second, medians of interleaved repetitions.

`python -m benchmarks.engine [--json] [--quick]`
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.peers import Problem, bare_loop, data_loader_loop, has_lightning, lightning_trainer
from models.spec.job import JobSpec
from worker.training.boundary import Ending, Leave
from worker.training.loop import train
from worker.training.randomness import Member


@dataclass(frozen=True)
class Workload:
    """What is trained, how many runs at once, and the ratios to the bare loop that are asked for."""

    name: str
    spec: dict[str, Any]
    targets: dict[int, float | None]
    """K to target; None where none is set."""

    def of(self, steps: int) -> JobSpec:
        # Evaluations as often as in the full workload of 10,000 steps: every 50.
        return JobSpec.model_validate(self.spec | {"budget": {"steps": steps}, "record": {"evaluate_every": 50}})


WORKLOADS = (
    Workload(
        "W1 sine 1-64-64-1",
        {
            "dataset": "sine",
            "network": {"kind": "mlp", "hidden": [64, 64]},
            "optimizer": {"kind": "adam", "learning_rate": 1e-2},
        },
        {1: 1.8, 4: None, 16: 8.0, 64: None},
    ),
    Workload(
        "W2 digits 64-256-128-10",
        {
            "dataset": "digits",
            "network": {"kind": "mlp", "hidden": [256, 128]},
            "optimizer": {"kind": "adam", "learning_rate": 1e-2},
        },
        {1: 1.0, 4: 1.0, 16: 1.0},
    ),
)


class Listener:
    """A reporter that really receives every point."""

    def __init__(self) -> None:
        self.received = 0

    def points(self, metric: str, rows: Sequence[int], steps: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        assert metric
        assert values.shape == (len(steps), len(rows))
        self.received += values.copy().size

    def snapshot(self, row: int, step: int, content: dict[str, Any]) -> None:
        raise AssertionError(f"no snapshot was asked for: {row}, {step}, {content}")

    def ended(self, row: int, ending: Ending) -> None:
        assert ending.weights is not None, f"run {row} ended as {ending.result}"


def _never() -> Mapping[int, Leave]:
    return {}


def engine(workload: Workload, runs: int, seconds: float, rate: float) -> float:
    """Model-steps per second of one cohort, reporting on, everything included from split to weights."""
    steps = max(100, int(seconds * rate / runs))
    listener = Listener()
    spec = workload.of(steps)
    started = time.perf_counter()
    train([spec] * runs, [Member(seed) for seed in range(runs)], listener, _never)
    elapsed = time.perf_counter() - started
    assert listener.received > 0
    return runs * steps / elapsed


def measure(workload: Workload, repetitions: int, seconds: float) -> list[dict[str, Any]]:
    """Rows {workload, k, peer, steps_per_second, ratio, target, met}: the engine's speed over each peer's."""
    problem = Problem.of(workload.of(1))
    peers: dict[str, Callable[[Problem, int], float]] = {"bare loop": bare_loop, "DataLoader": data_loader_loop}
    if has_lightning():
        peers["Lightning"] = lightning_trainer
    rates = {k: engine(workload, k, 0, 1) for k in workload.targets}  # warms up, too
    peer_rates = {name: peer(problem, 50) for name, peer in peers.items()}
    speeds: dict[int, list[float]] = {k: [] for k in workload.targets}
    ratios: dict[tuple[int, str], list[float]] = {(k, name): [] for k in workload.targets for name in peers}
    for _ in range(repetitions):
        for k in workload.targets:
            # Each peer beside each cohort, so that a drift of the machine touches both.
            speed = engine(workload, k, seconds, rates[k])
            speeds[k].append(speed)
            for name, peer in peers.items():
                ratios[k, name].append(speed / peer(problem, max(20, int(seconds / 2 * peer_rates[name]))))
    return [
        {
            "workload": workload.name,
            "k": k,
            "peer": name,
            "steps_per_second": median(speeds[k]),
            "ratio": median(values),
            "target": target,
            "met": None if target is None else median(values) >= target,
        }
        for (k, name), values in ratios.items()
        for target in [workload.targets[k] if name == "bare loop" else None]
    ]


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print one line a workload and K."""
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    heads = "".join(f"{'× ' + peer:>14}" for peer in peers)
    print(f"{'workload':<26}{'K':>4}{'steps/s':>10}{heads}{'target':>9}  met")
    for workload, k in dict.fromkeys((row["workload"], row["k"]) for row in rows):
        line = {row["peer"]: row for row in rows if (row["workload"], row["k"]) == (workload, k)}
        bare = line["bare loop"]
        ratios = "".join(f"{line[peer]['ratio']:>14.2f}" for peer in peers)
        target = "-" if bare["target"] is None else f"≥ {bare['target']:.1f}"
        met = {None: "", True: "yes", False: "NO"}[bare["met"]]
        print(f"{workload:<26}{k:>4}{bare['steps_per_second']:>10,.0f}{ratios}{target:>9}  {met}")
    if "Lightning" not in peers:
        print('Lightning is not installed: pip install -e ".[bench]" adds its column.')
    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; reporting on; targets are against the bare loop"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--quick", action="store_true", help="few short repetitions")
    options = parser.parse_args()
    repetitions, seconds = (3, 0.4) if options.quick else (5, 1.5)
    rows = [row for workload in WORKLOADS for row in measure(workload, repetitions, seconds)]
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
