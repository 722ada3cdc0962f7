"""How steeply the loss rises around the weights."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from models.spec import analyses as spec
from worker.training.analyses.draws import Draw, generators, normals
from worker.training.analyses.findings import Findings, NotAnalysable
from worker.training.analyses.objective import Objective
from worker.training.analyses.subjects import Subjects

SUBSPACE_NUMBERS = 1 << 27
"""The largest A, 1 GiB."""

ADAPTIVE_STEPS = 20

START = 0.01
"""How far from the weights an ascent begins, as a share of how far it may go: from a minimum itself no slope leads
away."""

Floats = NDArray[np.float64]


def measure(analysis: spec.Sharpness, subjects: Subjects) -> list[Findings]:
    """`sharpness_ε` of each run for each ε, `adaptive_sharpness`, and the `loss` at the weights."""
    objective, about = subjects.on_rows(analysis)
    parameters = subjects.network.parameters
    subspace = _subspace(analysis.subspace, parameters)
    starts = generators(subjects.members, Draw.BOX_START)
    columns = generators(subjects.members, Draw.SUBSPACE)
    adaptive = adaptive_sharpness(
        objective, analysis.radius, normals(generators(subjects.members, Draw.ADAPTIVE_START), parameters)
    )
    findings = []
    for run in range(objective.runs):
        one = objective.of(run, run + 1)
        basis = None if subspace is None else columns[run].standard_normal((parameters, subspace))
        start = START * starts[run].uniform(-1, 1, parameters if subspace is None else subspace)
        values = {
            f"sharpness_{epsilon:g}": box_sharpness(one, epsilon, start, basis, analysis.iterations)
            for epsilon in analysis.epsilons
        }
        values |= {"adaptive_sharpness": float(adaptive[run]), "loss": float(objective.losses[run])}
        findings.append(Findings(values, about | {"iterations": analysis.iterations, "subspace": subspace}))
    return findings


def _subspace(wanted: int | None, parameters: int) -> int | None:
    if wanted is None:
        return None
    most = min(parameters, SUBSPACE_NUMBERS // parameters)
    if wanted > most:
        raise NotAnalysable(
            f"a subspace of {wanted:,} dimensions is too large for {parameters:,} parameters: take at most {most:,}"
        )
    return wanted


def box_sharpness(objective: Objective, epsilon: float, start: Floats, basis: Floats | None, iterations: int) -> float:
    """φ = 100 (max f(x + A y) − f(x)) / (1 + f(x)) over |yᵢ| ≤ ε (|(A⁺x)ᵢ| + 1) for one run (Keskar et al. 2017).

    By L-BFGS-B in the unit z of the box, y = ε (|A⁺x| + 1) z, and with the objective in units of its mean slope at the
    start: its first step is then of the size of the box, whatever the scale of weights and gradient. The value is that
    of the best point that was ever evaluated, x itself included. As the paper's, it is a local maximum.

    Args:
        objective: of one run.
        epsilon: ε.
        start: z to begin with, near the middle: (P,), or (p,) in a subspace.
        basis: A (P, p), or None for the identity.
        iterations: of L-BFGS-B.

    """
    x = objective.theta[0]
    columns = None if basis is None else torch.from_numpy(basis)
    own = x if columns is None else torch.linalg.lstsq(columns, x[:, None]).solution[:, 0]
    sides = epsilon * (own.abs() + 1)

    def evaluate(z: Floats) -> tuple[float, Floats]:
        y = sides * torch.from_numpy(z)
        value, gradient = objective.gradients((x + (y if columns is None else columns @ y))[None])
        slope = gradient[0] if columns is None else columns.mT @ gradient[0]
        return float(value), (sides * slope).numpy()

    middle = float(objective.losses)
    best, slope = evaluate(start)
    best = max(middle, best)
    unit = float(np.abs(slope).mean())
    if unit == 0:
        return 100 * (best - middle) / (1 + middle)

    def descended(z: Floats) -> tuple[float, Floats]:
        nonlocal best
        value, slope = evaluate(z)
        best = max(best, value)
        return -value / unit, -slope / unit

    bounds = np.broadcast_to([-1.0, 1.0], (len(start), 2))
    options = {"maxiter": iterations, "ftol": 0.0, "gtol": 0.0}
    minimize(descended, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return 100 * (best - middle) / (1 + middle)


def adaptive_sharpness(objective: Objective, radius: float, starts: Tensor, steps: int = ADAPTIVE_STEPS) -> Tensor:
    """The largest f(w + δ) − f(w) over ‖δ / |w|‖₂ ≤ ρ for K runs (Kwon et al. 2021), (K,).

    By projected gradient ascent in u = δ / |w|, of which ‖u‖ ≤ ρ is a ball: u ← Π(u + s ρ g / ‖g‖), g the slope in u.
    A step that leads down is not taken, and s is halved; it begins at 2, from one end of the ball to the other.

    Args:
        objective: of K runs.
        radius: ρ.
        starts: directions (K, P) to begin in.
        steps: of the ascent.

    """
    theta = objective.theta
    scale = theta.abs()
    best_u = START * radius * starts / starts.norm(dim=1, keepdim=True)
    best, slope = objective.gradients(theta + scale * best_u)
    size = theta.new_full((len(theta), 1), 2.0)
    for _ in range(steps):
        ascent = scale * slope
        u = best_u + size * radius * ascent / ascent.norm(dim=1, keepdim=True).clamp_min(torch.finfo(ascent.dtype).tiny)
        u = u * (radius / u.norm(dim=1, keepdim=True)).clamp_max(1)
        value, new_slope = objective.gradients(theta + scale * u)
        rises = (value > best)[:, None]
        best_u, slope = torch.where(rises, u, best_u), torch.where(rises, new_slope, slope)
        best = torch.where(rises[:, 0], value, best)
        size = torch.where(rises, size, size / 2)
    return (best - objective.losses).clamp_min(0)
