"""Runs to analyse: trained by the engine, or with weights that only look as if."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.spec.job import JobSpec
from worker.training import losses, networks
from worker.training.analyses.networks import TrainedRun, outputs
from worker.training.analyses.objective import Objective, of_rows
from worker.training.analyses.subjects import Subjects, in_groups
from worker.training.cohort_data import prepare
from worker.training.randomness import Member


def spec_of(**fields: Any) -> JobSpec:
    return JobSpec.model_validate({"optimizer": "sgd", **fields})


def untrained(spec: JobSpec, seed: int, spread: float = 0.1) -> TrainedRun:
    """Initial weights, moved about so that no bias and no running average is what it was."""
    network, random = networks.build(spec), np.random.default_rng(seed)
    row = network.initial(seed)
    row = row + np.float32(spread) * random.standard_normal(row.shape, np.float32)
    averages = network.initial_averages()
    averages = averages * random.uniform(0.5, 2, averages.shape).astype(np.float32) + np.float32(0.05)
    return TrainedRun(network.named(torch.from_numpy(row), torch.from_numpy(averages)))


def members(seeds: Sequence[int]) -> list[Member]:
    return [Member(seed) for seed in seeds]


def subjects_of(spec: JobSpec, runs: Sequence[TrainedRun], seeds: Sequence[int] | None = None) -> Subjects:
    (subjects,) = in_groups([spec] * len(runs), members(seeds or range(len(runs))), runs, None, None, False)
    return subjects


def objective_of(spec: JobSpec, runs: Sequence[TrainedRun], rows: int = 64) -> Objective:
    return subjects_of(spec, runs).objective("training", rows)


def dense_hessian(subjects: Subjects, run: int, rows: int) -> Tensor:
    """Of one run's loss on training rows, (P, P), column by column from autograd's own double backward pass."""
    inputs = subjects.data.training.inputs[run, :rows, :-1].double()
    targets = subjects.data.training.targets[run, :rows].double()
    weights, loss = subjects.weights, losses.build(subjects.specs[0])

    def value(theta: Tensor) -> Tensor:
        said = outputs(subjects.network, theta, weights.averages[run], weights.epsilon[run], inputs)
        return of_rows(loss, said, targets).mean()

    hessian: Tensor = torch.autograd.functional.hessian(value, weights.theta[run], vectorize=True)  # type: ignore[no-untyped-call]
    return hessian


def least_squares(spec: JobSpec) -> TrainedRun:
    """The minimum of a linear regression on its training rows."""
    data = prepare([spec], members([0]), "cpu")
    rows, targets = data.training.inputs[0].double(), data.training.targets[0].double()
    solution = torch.linalg.lstsq(rows, targets).solution
    network = networks.build(spec)
    row = torch.zeros(network.columns)
    row[: network.parameters] = solution.flatten().float()
    return TrainedRun(network.named(row))
