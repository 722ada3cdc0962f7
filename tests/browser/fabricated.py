"""Comparisons made up so that the report has something to show in every section."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.comparison.compare import compare
from api.comparison.history import JobHistory, RunHistory, Series
from api.comparison.measured import JobTestScores, RunAnalysis
from api.comparison.result import Claim, Comparison
from models.answers import Estimate
from models.spec.job import JobSpec

Snapshots = Sequence[tuple[int, dict[str, Any]]]
Compared = tuple[Comparison, list[JobHistory]]
POINTS = 81
STEPS = 4_000
SEEDS = 8


def classes_in_the_plane() -> Compared:
    """Three optimizers on two moons, of which two were tuned: curves, profile, ranking, sharpness, regions, tests."""
    draws = np.random.default_rng(0)
    tried = [
        ("sgd", 0.01, 1500.0, 0.21),
        ("sgd", 0.1, 800.0, 0.14),
        ("momentum", 0.01, 620.0, 0.115),
        ("adam", 0.001, 500.0, 0.137),
        ("adam", 0.01, 260.0, 0.09),
        ("adam", 0.1, 140.0, 0.16),
    ]
    jobs = []
    for index, (optimizer, rate, pace, floor) in enumerate(tried):
        runs = []
        for seed in range(SEEDS):
            losses = _falling(draws, pace, floor)
            diverges = (optimizer, rate, seed) == ("adam", 0.1, 3)
            if diverges:
                losses = np.r_[losses[:25], 0.9, 2.5, 40.0, np.nan]
            gaps = losses * np.linspace(0, 0.1 + 0.04 * index, len(losses)) * draws.lognormal(0, 0.25)
            clock = np.linspace(0, 4 + index / 4, POINTS)[: len(losses)]
            columns = {"validation_loss": losses, "generalization_gap": gaps, "train_seconds": clock}
            runs.append(_run(f"job_{index}", seed, columns, STEPS // (POINTS - 1), diverged=diverges))
        taken = [(step, _plane(step / pace, draws)) for step in (100, 1_000, STEPS)]
        jobs.append(
            _job(
                runs,
                name=f"{optimizer} {rate:g}",
                snapshots={runs[0].run_id: taken},
                dataset={"kind": "moons", "samples": 400},
                optimizer={"kind": optimizer, "learning_rate": rate},
                budget={"steps": STEPS},
            )
        )
    claims = [Claim(better="job_4", worse="job_2"), Claim(better="job_2", worse="job_1")]
    found = compare(jobs, target=0.2, baseline="job_1", claims=claims)
    return found.model_copy(update={"analyses": _analyses(jobs, draws), "test_scores": _test_scores(jobs)}), jobs


def curves_over_a_line() -> Compared:
    """Two jobs on one feature: predictions over the data."""
    draws = np.random.default_rng(1)
    x = np.linspace(-3, 3, 60)
    jobs = []
    for optimizer, pace in (("sgd", 1500.0), ("adam", 300.0)):
        runs = []
        snapshots = {}
        for seed in range(3):
            runs.append(_run(optimizer, seed, {"validation_loss": _falling(draws, pace, 0.02)}, 50))
            rows = {"inputs": x.tolist(), "targets": (np.sin(2 * x) + 0.1 * draws.standard_normal(60)).tolist()}
            guesses = {
                step: (1 - np.exp(-step / pace)) * np.sin(2 * x) + 0.05 * draws.standard_normal()
                for step in (200, 2_000)
            }
            snapshots[runs[-1].run_id] = [
                (step, {"inputs": x.tolist(), "outputs": guess.tolist(), "rows": rows})
                for step, guess in guesses.items()
            ]
        jobs.append(
            _job(
                runs, name=optimizer, snapshots=snapshots, dataset="sine", optimizer=optimizer, budget={"steps": STEPS}
            )
        )
    return compare(jobs), jobs


def a_hundred_jobs() -> Compared:
    """A sweep of learning rate and width with 300 points a curve."""
    draws = np.random.default_rng(2)
    jobs = []
    for index in range(100):
        rate, width = 10 ** (-4 + index % 10 / 3), 2 ** (3 + index // 20)
        floor = 0.02 + 0.2 / width + rate / 4
        runs = [
            _run(f"job_{index}", seed, {"validation_loss": _falling(draws, 3 / rate**0.9, floor, 300)}, 50)
            for seed in range(3)
        ]
        jobs.append(
            _job(
                runs,
                name=f"rate {rate:.2g}, width {width}, batch {16 << index // 10 % 2}",
                dataset="sine",
                batch_size=16 << index // 10 % 2,
                network={"kind": "mlp", "hidden": [width]},
                optimizer={"kind": "adam", "learning_rate": rate},
                budget={"steps": 50 * 299},
            )
        )
    return compare(jobs, target=0.1), jobs


def _run(
    job_id: str, seed: int, columns: Mapping[str, NDArray[np.float64]], every: int, *, diverged: bool = False
) -> RunHistory:
    series = {name: Series(np.arange(len(values)) * every, values) for name, values in columns.items()}
    status, reason = ("failed", "diverged") if diverged else ("succeeded", None)
    return RunHistory(f"{job_id}-{seed}", job_id, seed, status, reason, series)


def _job(
    runs: Sequence[RunHistory], *, name: str, snapshots: Mapping[str, Snapshots] | None = None, **spec: Any
) -> JobHistory:
    made = JobSpec.model_validate({"name": name, "seeds": [run.seed for run in runs]} | spec)
    return JobHistory(runs[0].job_id, name, made, tuple(runs), snapshots or {})


def _falling(draws: np.random.Generator, pace: float, floor: float, points: int = POINTS) -> NDArray[np.float64]:
    steps = np.linspace(0, STEPS, points)
    own_floor, own_pace = floor * draws.uniform(0.94, 1.06), pace * draws.uniform(0.8, 1.25)
    noise = np.exp(0.015 * draws.standard_normal(points))
    values: NDArray[np.float64] = (own_floor + 0.6 * np.exp(-steps / own_pace)) * noise
    return values


def _plane(progress: float, draws: np.random.Generator, points: int = 40) -> dict[str, Any]:
    """A boundary that bends, and grows surer, with progress."""
    x, y = np.linspace(-1.4, 2.4, points), np.linspace(-0.9, 1.4, points)
    bend = 1 - np.exp(-progress)
    distance = y[:, None] - 0.25 - bend * 0.55 * np.cos(np.pi * x[None, :])
    surely = 1 / (1 + np.exp(-np.abs(distance) * (1 + 14 * bend)))
    angle = np.pi * draws.uniform(size=120)
    upper = np.stack([np.cos(angle), np.sin(angle)], 1)
    classes = np.arange(120) % 2
    moons = np.where(classes[:, None] == 0, upper, [1, 0.5] - upper) + 0.1 * draws.standard_normal((120, 2))
    return {
        "grid": {"x": x.round(3).tolist(), "y": y.round(3).tolist()},
        "classes": (distance < 0).astype(int).tolist(),
        "confidence": surely.round(2).tolist(),
        "rows": {"inputs": moons.round(3).tolist(), "targets": classes.tolist()},
    }


def _analyses(jobs: Sequence[JobHistory], draws: np.random.Generator) -> list[RunAnalysis]:
    def measured(job: JobHistory, index: int, kind: str, values: Mapping[str, float | None]) -> list[RunAnalysis]:
        return [
            RunAnalysis(
                job_id=job.job_id,
                run_id=run.run_id,
                seed=run.seed,
                member=run.member,
                kind=kind,
                options={},
                values={
                    name: None if value is None else value * (1 + index) ** 2 * draws.lognormal(0, 0.25)
                    for name, value in values.items()
                },
            )
            for run in job.runs
            if run.succeeded
        ]

    found = []
    for index, job in enumerate(jobs):
        found += measured(job, index, "sharpness", {"sharpness_0.001": 0.4, "adaptive_sharpness": 0.02})
        found += measured(job, index, "hessian", {"largest_eigenvalue": 8.0, "trace": None})
    return found


def _test_scores(jobs: Sequence[JobHistory]) -> list[JobTestScores]:
    def scores(loss: float) -> dict[str, Estimate]:
        return {
            "test_loss": Estimate(mean=loss, standard_deviation=0.008, seeds=SEEDS),
            "test_accuracy": Estimate(mean=1 - loss / 2, standard_deviation=0.004, seeds=SEEDS),
        }

    return [
        JobTestScores(job_id=job.job_id, look=look, looks_at_dataset=look + 2, runs=SEEDS, scores=scores(loss))
        for look, (job, loss) in enumerate(zip((jobs[1], jobs[4]), (0.15, 0.094), strict=True), start=1)
    ]
