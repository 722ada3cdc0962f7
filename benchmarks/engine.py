"""The engine against plain PyTorch and compiled JAX: ratios of speeds, medians of interleaved repetitions.

`python -m benchmarks.engine [--json] [--quick] [--device cuda]`
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.jax_peer import JaxProgram, has_jax
from benchmarks.peers import Problem, bare_loop, data_loader_loop, has_lightning, lightning_trainer
from models.spec.job import JobSpec
from worker.training.boundary import Ending, Leave, Mode, Saved
from worker.training.loop import train
from worker.training.randomness import Member

Row = dict[str, Any]

BARE, LOADER, LIGHTNING, JAX = "bare loop", "DataLoader", "Lightning", "JAX vmap+scan"


@dataclass(frozen=True)
class Workload:
    """What is trained, how many runs at once, by what rate peers are to be beaten."""

    name: str
    spec: Mapping[str, Any]
    cohorts: tuple[int, ...]
    targets: Mapping[tuple[int, str], float]
    """(K, peer) to the ratio that is asked for."""
    peers: tuple[str, ...] = (BARE,)
    evaluate_every: int = 50

    def of(self, steps: int, **record: Any) -> JobSpec:
        # Evaluations as often as in the full workload of 10,000 steps.
        return JobSpec.model_validate(
            {**self.spec, "budget": {"steps": steps}, "record": {"evaluate_every": self.evaluate_every} | record}
        )


DIGITS: Mapping[str, Any] = {
    "dataset": "digits",
    "network": {"kind": "mlp", "hidden": [256, 128]},
    "optimizer": {"kind": "adam", "learning_rate": 1e-2},
}
SINE_SPEC: Mapping[str, Any] = {
    "dataset": "sine",
    "network": {"kind": "mlp", "hidden": [64, 64]},
    "optimizer": {"kind": "adam", "learning_rate": 1e-2},
}
SINE = Workload(
    "W1 sine 1-64-64-1",
    SINE_SPEC,
    (1, 4, 16, 64),
    # Against JAX at K = 1 it is a moonshot: reported, not promised.
    {
        (1, BARE): 2.0,
        (1, LIGHTNING): 7.0,
        (1, JAX): 1.0,
        (4, BARE): 1.0,
        (16, BARE): 1.0,
        (64, BARE): 16,
        (64, JAX): 1.3,
    },
    (BARE, LOADER, LIGHTNING, JAX),
)
WORKLOADS = (
    SINE,
    # Compiled beforehand, as JAX is.
    Workload(
        "W1, compiled",
        {**SINE_SPEC, "execution": "compiled"},
        (1, 16, 64),
        {(1, BARE): 2.0, (1, JAX): 1.0, (16, BARE): 1.0, (64, BARE): 16, (64, JAX): 1.3},
        (BARE, JAX),
    ),
    Workload(
        "W2 digits 64-256-128-10",
        DIGITS,
        (1, 4, 16),
        {(1, BARE): 1.0, (4, BARE): 1.0, (16, BARE): 2.5},
        (BARE, LOADER, LIGHTNING, JAX),
    ),
    Workload("W2, compiled", {**DIGITS, "execution": "compiled"}, (1, 16), {(1, BARE): 1.0, (16, BARE): 2.5}),
    Workload(
        "W2 dropout, batch norm",
        {**DIGITS, "regularizers": [{"kind": "dropout", "probability": 0.2}, "batch_norm"]},
        (1, 16),
        {(1, BARE): 1.0, (16, BARE): 2.0},
    ),
    Workload(
        "W3 images 28 × 28, 16/32",
        {"dataset": "stripes", "network": "cnn", "optimizer": {"kind": "adam", "learning_rate": 1e-3}},
        (1,),  # it trains alone, so eight runs take eight times as long, as with the bare loop
        {(1, BARE): 1.0},
        evaluate_every=200,
    ),
)


class Listener:
    """A reporter that really receives every point."""

    def __init__(self) -> None:
        self.received = 0
        self.resident: list[tuple[int, int]] = []
        """Step and resident memory in pages, where the system tells it."""

    def mode(self, mode: Mode) -> None:
        assert mode.reason is None, mode.reason

    def points(self, metric: str, rows: Sequence[int], steps: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        assert values.shape == (len(steps), len(rows))
        self.received += values.copy().size
        if metric == "train_loss" and _STATM.exists():
            self.resident.append((int(steps[-1]), int(_STATM.read_text(encoding="ascii").split()[1])))

    def snapshot(self, row: int, step: int, content: dict[str, Any]) -> None:
        raise AssertionError(f"no snapshot was asked for: {row}, {step}, {content}")

    def saved(self, rows: Sequence[int], saved: Saved) -> None:
        raise AssertionError(f"nothing was to be saved: {rows}, step {saved.step}")

    def ended(self, row: int, ending: Ending) -> None:
        assert ending.weights is not None, f"run {row} ended as {ending.result}"


_STATM = Path("/proc/self/statm")


def _never() -> Mapping[int, Leave]:
    return {}


def engine(spec: JobSpec, runs: int, steps: int, device: str = "cpu") -> tuple[float, Listener]:
    """Model-steps per second of one cohort, everything included from split to weights; and what was heard."""
    listener = Listener()
    started = time.perf_counter()
    train([spec] * runs, [Member(seed) for seed in range(runs)], listener, _never, device=device)
    return runs * steps / (time.perf_counter() - started), listener


def _peer(name: str, problem: Problem, runs: int) -> Callable[[int], float]:
    match name:
        case "bare loop":
            return lambda steps: bare_loop(problem, steps)
        case "DataLoader":
            return lambda steps: data_loader_loop(problem, steps)
        case "Lightning":
            return lambda steps: lightning_trainer(problem, steps)
        case _:
            program = JaxProgram(problem, runs)
            return lambda steps: program.measure(max(1, steps // runs))


def measure(workload: Workload, repetitions: int, seconds: float, device: str) -> Iterator[Row]:
    """Rows {workload, k, peer, steps_per_second, ratio, target, met}: the engine's speed over each peer's."""
    problem = Problem.of(workload.of(1), device)
    # JAX and Lightning choose devices of their own.
    missing = {JAX: device != "cpu" or not has_jax(), LIGHTNING: device != "cpu" or not has_lightning()}
    names = [name for name in workload.peers if not missing.get(name)]
    for runs in workload.cohorts:
        peers = {name: _peer(name, problem, runs) for name in names}
        engine(workload.of(20), runs, 20, device)  # warms up, and compiles what is compiled
        pace, _ = engine(workload.of(100), runs, 100, device)
        paces = {name: peer(50) for name, peer in peers.items()}
        speeds: list[float] = []
        ratios: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(repetitions):
            steps = max(100, int(seconds * pace / runs))
            speed, heard = engine(workload.of(steps), runs, steps, device)
            assert heard.received > 0
            speeds.append(speed)
            for name, peer in peers.items():
                # Each peer beside each cohort, so that a drift of the machine touches both.
                ratios[name].append(speed / peer(max(20, int(seconds / 2 * paces[name]))))
        for name, values in ratios.items():
            yield _row(workload.name, runs, name, median(values), workload.targets.get((runs, name)), median(speeds))


def _row(workload: str, k: int, peer: str, ratio: float, target: float | None, speed: float | None = None) -> Row:
    met = None if target is None else ratio >= target
    return {
        "workload": workload,
        "k": k,
        "peer": peer,
        "steps_per_second": speed,
        "ratio": ratio,
        "target": target,
        "met": met,
    }


def recording(repetitions: int, seconds: float) -> Row:
    """The speed of W1 with every loss recorded, over that with none."""
    steps = int(seconds * 2_000)
    ratios = []
    for _ in range(2 * repetitions + 1):
        on, _ = engine(SINE.of(steps, every_steps=1), 16, steps)
        off, _ = engine(SINE.of(steps, every_steps=steps), 16, steps)
        ratios.append(on / off)
    return _row("W1, every loss recorded", 16, "none recorded", median(ratios), 0.98)


def memory(steps: int) -> Row | None:
    """Resident memory of W1 at the end, over that at step 100; None where the system does not tell."""
    _, heard = engine(SINE.of(steps, every_steps=10, evaluate_every=100), 256, steps)
    early = [pages for step, pages in heard.resident if step >= 100]
    if not early:
        return None
    ratio = heard.resident[-1][1] / early[0]
    return _row(f"W1, memory at {steps:,} steps", 256, "at step 100", ratio, 1.05) | {"met": ratio <= 1.05}


def show(rows: Sequence[Row]) -> None:
    """Print one line a row."""
    print(f"{'workload':<26}{'K':>4}  {'against':<15}{'steps/s':>9}{'ratio':>8}{'target':>9}  met")
    for row in rows:
        sign = "≤" if row["peer"] == "at step 100" else "≥"
        target = "" if row["target"] is None else f"{sign} {row['target']:g}"
        speed = "" if row["steps_per_second"] is None else f"{row['steps_per_second']:,.0f}"
        met = {None: "", True: "yes", False: "NO"}[row["met"]]
        print(f"{row['workload']:<26}{row['k']:>4}  {row['peer']:<15}{speed:>9}{row['ratio']:>8.2f}{target:>9}  {met}")
    if absent := {LIGHTNING, JAX} - {row["peer"] for row in rows}:
        print(f'Not measured: {", ".join(sorted(absent))}. On a CPU, pip install -e ".[bench]" adds them.')
    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}. Against JAX at K = 1 the target is a moonshot."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--quick", action="store_true", help="few short repetitions")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    options = parser.parse_args()
    repetitions, seconds, long = (3, 0.4, 1_000) if options.quick else (5, 1.5, 10_000)
    # What compiles, and what is counted beside the engine, is on the CPU.
    here = options.device == "cpu"
    workloads = [workload for workload in WORKLOADS if here or workload.spec.get("execution") != "compiled"]
    rows = [row for workload in workloads for row in measure(workload, repetitions, seconds, options.device)]
    if here:
        rows += [recording(repetitions, seconds), *filter(None, [memory(long)])]
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
