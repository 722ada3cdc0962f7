"""The loss on the line between two networks."""

import torch
from torch import Tensor

from models.spec import analyses as spec
from worker.training.analyses.findings import Findings, NotAnalysable, plain
from worker.training.analyses.networks import TrainedRun, Weights
from worker.training.analyses.objective import Objective
from worker.training.analyses.subjects import ABOUT, Subjects

FROM, TO = -1.0, 2.0

SMALLEST = 1e-12
"""Variance, far below any ε that is added to it."""

UNITS = ("input_", "target_")
"""How the names of tensors begin that are no part of the network."""


def measure(analysis: spec.Line, subjects: Subjects, other: TrainedRun) -> list[Findings]:
    """`loss` of each run, `other_loss` at the other end, and the `barrier` between them, on the split asked for.

    The barrier is the largest loss at α in [0, 1] less that of the worse end, which is one of them: never below 0
    (Frankle et al. 2020 take the mean of the ends). Details have `alphas`, and of both splits the `losses` and, for
    classes, the `accuracies`. All losses are on the run's own rows, whichever the other one was trained on.
    """
    ends = subjects.weights, _matching(subjects, other)
    # As they begin, means are 0 and variances 1.
    variances = torch.from_numpy(subjects.network.initial_averages()) > 0
    alphas = torch.linspace(FROM, TO, analysis.points, dtype=torch.float64)
    between = (alphas >= 0) & (alphas <= 1)
    classes = subjects.data.task == "classification"
    curves, values = {}, {}
    for split in ("training", "validation"):
        objective = subjects.objective(split, analysis.rows)
        # The ends themselves need not be among the points.
        losses, shares = _along(objective, *ends, variances, torch.cat([alphas, alphas.new_tensor([0, 1])]))
        if split == analysis.split:
            rows, values = objective.rows, _values(losses, between)
        curves[split] = {"losses": losses[:, :-2]} | ({"accuracies": shares[:, :-2]} if classes else {})
    return [
        Findings(
            {name: float(numbers[run]) for name, numbers in values.items()},
            {"split": analysis.split, "rows": rows, **ABOUT, "to": analysis.to, "alphas": plain(alphas)}
            | {split: {name: plain(curve[run]) for name, curve in both.items()} for split, both in curves.items()},
        )
        for run in range(len(subjects.specs))
    ]


def _values(losses: Tensor, between: Tensor) -> dict[str, Tensor]:
    """From losses (K, G + 2), those of the ends last: each (K,)."""
    ends = losses[:, -2:]
    highest = torch.cat([losses[:, :-2][:, between], ends], 1).amax(1)
    return {"barrier": highest - ends.amax(1), "loss": ends[:, 0], "other_loss": ends[:, 1]}


def _matching(subjects: Subjects, other: TrainedRun) -> Weights:
    """The other end of each run's line."""
    network = subjects.network
    named = network.named(torch.zeros(network.columns), torch.zeros(network.statistics))
    own = {name: array.shape for name, array in named.items()}
    given = {name: array.shape for name, array in other.tensors.items() if not name.startswith(UNITS)}
    if own != given:
        raise NotAnalysable(
            "the other run has another network: a line needs two runs whose weights have the same shapes"
        )
    return Weights.read(network, subjects.specs, [other] * len(subjects.specs))


def _along(
    objective: Objective, start: Weights, end: Weights, variances: Tensor, alphas: Tensor
) -> tuple[Tensor, Tensor]:
    """Losses and accuracies, (K, G) each, at (1 − α) start + α end; `variances` marks those among the averages.

    Variances move by a constant factor, not by a constant step, which beyond the ends would lead below zero.
    """
    steady = [torch.where(variances, ends.averages.clamp_min(SMALLEST).log(), ends.averages) for ends in (start, end)]
    parts = []
    for part in objective.points_at_once(len(alphas)):
        alpha = alphas[part, None]
        theta, averages = (
            torch.lerp(one[:, None], two[:, None], alpha) for one, two in ((start.theta, end.theta), steady)
        )
        parts.append(objective.scores(theta, torch.where(variances, averages.exp(), averages)))
    losses, shares = zip(*parts, strict=True)
    return torch.cat(losses, 1), torch.cat(shares, 1)
