"""The loss around the weights, along random directions."""

import torch
from torch import Tensor

from models.spec import analyses as spec
from worker.training.analyses.draws import Draw, generators, normals
from worker.training.analyses.findings import Findings, plain
from worker.training.analyses.objective import Objective
from worker.training.analyses.subjects import Subjects
from worker.training.networks import Network


def measure(analysis: spec.LossLandscape, subjects: Subjects) -> list[Findings]:
    """`loss` at the weights, and `mean_rise`, by how much it is higher in the mean over the grid; details have the
    `axis` and the `losses` on it, with two directions a list for each place along the first.
    """
    objective, about = subjects.on_rows(analysis)
    drawn = normals(generators(subjects.members, Draw.DIRECTIONS), analysis.dimensions, subjects.network.parameters)
    directions = [filter_normalized(subjects.network, objective.theta, one) for one in drawn.unbind(1)]
    axis = torch.linspace(-analysis.radius, analysis.radius, analysis.points, dtype=torch.float64)
    places = torch.cartesian_prod(*[axis] * analysis.dimensions).view(-1, analysis.dimensions)
    losses = _around(objective, directions, places)
    rises = losses.mean(1) - objective.losses
    shape = [analysis.points] * analysis.dimensions
    return [
        Findings(
            {"loss": float(objective.losses[run]), "mean_rise": float(rises[run])},
            about | {"axis": plain(axis), "losses": plain(losses[run].view(shape))},
        )
        for run in range(objective.runs)
    ]


def _around(objective: Objective, directions: list[Tensor], places: Tensor) -> Tensor:
    """The losses (K, G) at `places` (G, D) along directions (K, P)."""
    found = []
    for part in objective.points_at_once(len(places)):
        moves = [
            place[:, None] * direction[:, None]
            for place, direction in zip(places[part].unbind(1), directions, strict=True)
        ]
        found.append(objective.scores(objective.theta[:, None] + sum(moves))[0])
    return torch.cat(found, 1)


def filter_normalized(network: Network, theta: Tensor, drawn: Tensor) -> Tensor:
    """Random directions (K, P) in which each filter has the norm that it has in θ (Li et al. 2018).

    A filter is what one unit or channel multiplies its inputs with. Biases and normalizations do not move.
    """
    directions = torch.zeros_like(theta)
    views = (network.weights(matrix) for matrix in (directions, theta, drawn))
    for into, weights, random in zip(*views, strict=True):
        into.copy_(random * (weights.norm(dim=1, keepdim=True) / random.norm(dim=1, keepdim=True)))
    return directions
