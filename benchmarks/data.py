"""Data of one's own: how fast and in how little memory a CSV is read, and what it costs to train from disk.

`python -m benchmarks.data [--json] [--quick]`
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow
import pyarrow.csv
from numpy.typing import NDArray

from api.parsing import Limits, Options, parse
from models.reading import read
from models.spec.job import JobSpec
from models.spec.uploads import Uploaded
from models.stored import Description
from worker.training.boundary import Ending, Leave, Mode, Saved
from worker.training.loop import train
from worker.training.randomness import Member
from worker.training.stored import StoredData

Row = dict[str, Any]

PIXELS: Mapping[str, Any] = {
    "network": "cnn",
    "optimizer": "adam",
    "evaluation": {"kind": "holdout", "validation": 0.01, "test": 0.01},
}
NUMBERS: Mapping[str, Any] = {
    "network": {"kind": "mlp", "hidden": [64, 64]},
    "optimizer": "adam",
    "evaluation": {"kind": "holdout", "validation": 0.01, "test": 0.01},
}


class Clock:
    """A reporter that notes when each window of steps was over."""

    def __init__(self) -> None:
        self._told: list[tuple[float, int]] = []

    def mode(self, mode: Mode) -> None:
        """Nothing here is compiled."""

    def points(self, metric: str, rows: Sequence[int], steps: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        assert values.shape == (len(steps), len(rows))
        if metric == "train_loss":
            self._told.append((time.perf_counter(), int(steps[-1])))

    def snapshot(self, row: int, step: int, content: dict[str, Any]) -> None:
        raise AssertionError((row, step, content))

    def saved(self, rows: Sequence[int], saved: Saved) -> None:
        raise AssertionError(f"nothing was to be saved: {rows}, step {saved.step}")

    def ended(self, row: int, ending: Ending) -> None:
        assert ending.weights is not None, f"run {row} ended as {ending.result}"

    def steps_per_second(self) -> float:
        """Past the first window, in which files are opened and memory is found."""
        (begun, first), (ended, last) = self._told[0], self._told[-1]
        return (last - first) / (ended - begun)


def _never() -> Mapping[int, Leave]:
    return {}


def _images(folder: Path, rows: int) -> StoredData:
    """Noise in the size of MNIST's images, as a parser would leave it."""
    draws = np.random.default_rng(0)
    np.savez(
        folder / "images.npz",
        x=draws.integers(0, 256, (rows, 28, 28), dtype=np.uint8),
        y=draws.integers(0, 10, rows, dtype=np.int64),
    )
    return _parsed(folder, folder / "images.npz")


def _table(folder: Path, rows: int) -> Path:
    """20 columns: 18 numbers of 17 digits, a category, and two classes."""
    draws = np.random.default_rng(0)
    columns: dict[str, Any] = {f"x{number}": draws.normal(size=rows) for number in range(18)}
    columns |= {"color": draws.choice(["red", "green", "blue"], rows), "label": draws.integers(0, 2, rows)}
    pyarrow.csv.write_csv(pyarrow.table(columns), folder / "table.csv")
    return folder / "table.csv"


def _parsed(folder: Path, file: Path) -> StoredData:
    made = folder / file.stem
    made.mkdir()
    description = parse(file, made, Options(), Limits()).description
    return StoredData(file.stem, made, description)


def _spec(data: StoredData, work: Mapping[str, Any], steps: int) -> JobSpec:
    asked = Uploaded(id=data.id)
    spec = JobSpec.model_validate(
        {**work, "dataset": asked, "budget": {"steps": steps}, "record": {"every_steps": 1, "evaluate_every": steps}}
    )
    found = read(data.description, asked, spec.evaluation).found
    return spec.model_copy(update={"dataset": asked.model_copy(update={"found": found})})


def streaming(name: str, data: StoredData, work: Mapping[str, Any], steps: int, repetitions: int) -> Row:
    """Steps per second from disk, over those with all rows in memory."""
    spec, ratios, speeds = _spec(data, work, steps), [], []
    for _ in range(repetitions):
        pair = []
        for memory_bytes in (None, 1):
            clock = Clock()
            train([spec], [Member(0)], clock, _never, stored=data, memory_bytes=memory_bytes)
            pair.append(clock.steps_per_second())
        ratios.append(pair[1] / pair[0])
        speeds.append(pair[1])
    return {
        "measured": f"{name} from disk",
        "value": f"{median(speeds):,.0f} steps/s",
        "ratio": median(ratios),
        "against": "in memory",
        "target": "≥ 0.7",
        "met": median(ratios) >= 0.7,
    }


_PARSE = """
import json, resource, sys, time
from pathlib import Path
from api.parsing import Limits, Options
from api.parsing.child import parse_in_child
file, folder = map(Path, sys.argv[1:])
folder.mkdir()
started = time.perf_counter()
parsed = parse_in_child(file, folder, Options(), Limits())
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps({"description": parsed.description.model_dump(mode="json"), "seconds": seconds, "peak": peak}))
"""
"""In a process without torch: a child is charged for what its parent held when it began."""


def parsing(folder: Path, rows: int) -> tuple[Row, StoredData]:
    """Peak memory of the process that reads a CSV, over the size of the file."""
    file = _table(folder, rows)
    size, made = file.stat().st_size, folder / "table"
    told = subprocess.run([sys.executable, "-c", _PARSE, file, made], check=True, capture_output=True, text=True)
    answer = json.loads(told.stdout)
    row = {
        "measured": f"CSV of {rows:,} rows × 20, {size / 1e6:,.0f} MB, read in",
        "value": f"{answer['seconds']:.1f} s",
        "ratio": answer["peak"] / size,
        "against": "peak memory / file",
        "target": "< 4",
        "met": answer["peak"] < 4 * size,
    }
    return row, StoredData("table", made, Description.model_validate(answer["description"]))


def measure(folder: Path, *, quick: bool) -> Iterator[Row]:
    repetitions, steps = (3, 300) if quick else (5, 1_000)
    row, table = parsing(folder, 200_000 if quick else 1_000_000)
    yield row
    images = _images(folder, 60_000)
    yield streaming("W3 images 28 × 28, 16/32", images, PIXELS, steps, repetitions)
    yield streaming("W1 20 columns, 64-64", table, NUMBERS, 10 * steps, repetitions) | {"target": None, "met": None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--quick", action="store_true", help="fewer rows, few short repetitions")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(Path(folder), quick=options.quick))
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        met = {None: "", True: "yes", False: "NO"}[row["met"]]
        print(
            f"{row['measured']:<52}{row['value']:>14}{row['ratio']:>8.2f}  {row['against']:<19}"
            f"{row['target'] or '':>6}  {met}"
        )


if __name__ == "__main__":
    main()
