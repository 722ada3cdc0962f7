"""Comparisons: how fast the API puts 100 runs of 10,000 points side by side, and says that nothing has changed.

`python -m benchmarks.comparison [--json]`
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

import httpx2
import numpy as np

from benchmarks.api_process import api_process, surroundings
from models.access import ADMIN
from models.database import Database
from models.metric_stream import FROM_NOTHING, Chunk, Cursor, pack
from models.settings import Settings
from models.spec.job import JobSpec
from models.status import RunStatus
from models.tables import Job, MetricSegment, Run, new_id, now

Row = dict[str, Any]

POINTS = 10_000
POINTS_A_CHUNK = 50
CHUNKS_A_SEGMENT = 10
COLD, UNCHANGED = 0.300, 0.005
REPETITIONS = 5


def _spec(experiment: str, number: int, seeds: int) -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": f"{experiment} {number}",
            "experiment": experiment,
            "dataset": "sine",
            "optimizer": {"kind": ("adam", "sgd", "momentum")[number % 3], "learning_rate": 0.001 * (number + 1)},
            "budget": {"steps": POINTS},
            "record": {"evaluate_every": 1},
            "seeds": seeds,
        }
    )


def _segments(run_id: str, draws: np.random.Generator) -> Iterator[MetricSegment]:
    """A history as a worker leaves it: chunks of a fifth of a second, joined every two seconds."""
    steps = np.arange(1, POINTS + 1, dtype=np.int32)
    loss = (1 / np.sqrt(steps) + draws.normal(0, 0.01, POINTS)).astype(np.float32)
    columns = {"train_loss": loss * 0.9, "validation_loss": loss, "train_seconds": (steps / 250).astype(np.float32)}
    chunks = []
    for number, start in enumerate(range(0, POINTS, POINTS_A_CHUNK)):
        part = slice(start, start + POINTS_A_CHUNK)
        held = {name: (steps[part], values[part]) for name, values in columns.items()}
        end = RunStatus.SUCCEEDED if start + POINTS_A_CHUNK == POINTS else None
        chunks.append(pack(Chunk(Cursor(1, number), held, FROM_NOTHING if number == 0 else None, end)))
    for first in range(0, len(chunks), CHUNKS_A_SEGMENT):
        payload = b"".join(chunks[first : first + CHUNKS_A_SEGMENT])
        last = min(first + CHUNKS_A_SEGMENT, len(chunks)) - 1
        yield MetricSegment(run_id=run_id, attempt=1, first_number=first, last_number=last, payload=payload)


def fill(database: Database, experiment: str, jobs: int, seeds: int, *, with_points: bool = True) -> None:
    """Store jobs that have ended, as if they had been trained; without points there is nothing to draw."""
    draws = np.random.default_rng(0)
    for number in range(jobs):
        spec, moment = _spec(experiment, number, seeds), now()
        job = Job(
            id=new_id("job"),
            owner=ADMIN,
            name=spec.name,
            experiment=experiment,
            tags=[],
            notes="",
            priority=0,
            spec=spec.model_dump(mode="json"),
            spec_hash=spec.spec_hash,
            created_at=moment,
        )
        with database.write() as session:
            session.add(job)
            session.flush()
            for seed in spec.seeds:
                run = Run(
                    id=new_id("run"),
                    owner=ADMIN,
                    job_id=job.id,
                    position=seed,
                    seed=seed,
                    device="auto",
                    priority=0,
                    cohort_key=spec.cohort_key,
                    status=RunStatus.SUCCEEDED,
                    attempt=1,
                    queued_at=moment,
                    finished_at=moment,
                    step=POINTS,
                    total_steps=POINTS,
                )
                session.add(run)
                session.flush()
                if with_points:
                    session.add_all(_segments(run.id, draws))


def _seconds(client: httpx2.Client, question: Mapping[str, Any], etag: str | None = None) -> tuple[float, str]:
    started = time.perf_counter()
    answer = client.get("/v1/comparisons", params=question, headers={"If-None-Match": etag} if etag else {})
    seconds = time.perf_counter() - started
    assert answer.status_code == (304 if etag else 200), answer.text
    return seconds, answer.headers["ETag"]


def measure(environment: Mapping[str, str], experiment: str) -> tuple[list[float], list[float]]:
    """Seconds of a comparison that its process is asked for first, and of asking again with the ETag."""
    cold, unchanged = [], []
    question = {"experiment": experiment, "target": 0.05, "claim": [f"{experiment} 0<{experiment} 1"]}
    for _ in range(REPETITIONS):
        with api_process(environment) as (client, _):
            # Imports and connections are those of the process, not of the comparison.
            _seconds(client, {"experiment": "warm"})
            seconds, etag = _seconds(client, question)
            cold.append(seconds)
            unchanged += [_seconds(client, question, etag)[0] for _ in range(50)]
    return cold, unchanged


def _rows(environment: Mapping[str, str], jobs: int, seeds: int) -> list[Row]:
    cold, unchanged = measure(environment, f"{jobs}x{seeds}")
    told = f"{jobs} jobs × {seeds} seeds × {POINTS:,} points"
    return [
        {"measured": f"{told}, cold", "seconds": median(cold), "worst": max(cold), "target": COLD},
        {
            "measured": f"{told}, ETag matches",
            "seconds": median(unchanged),
            "worst": max(unchanged),
            "target": UNCHANGED,
        },
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with surroundings() as environment:
        database = Database(Settings(database_url=environment["DESCENT_DATABASE_URL"]).database())
        for experiment, jobs, seeds in (("warm", 1, 2), ("10x10", 10, 10), ("100x1", 100, 1)):
            fill(database, experiment, jobs, seeds)
        database.dispose()
        rows = [row for jobs, seeds in ((10, 10), (100, 1)) for row in _rows(environment, jobs, seeds)]
    if arguments.json:
        print(json.dumps({"cpus": os.cpu_count(), "comparison": rows}))
        return
    print(f"{'Comparison over HTTP':<50} {'median':>10} {'worst':>10} {'target':>10}")
    for row in rows:
        met = "met" if row["seconds"] <= row["target"] else "missed"
        numbers = " ".join(f"{1000 * row[key]:>7.1f} ms" for key in ("seconds", "worst", "target"))
        print(f"{row['measured']:<50} {numbers}  {met}")


if __name__ == "__main__":
    main()
