"""The curvature of the loss, from Hessian-vector products alone."""

import torch
from torch import Tensor

from models.spec import analyses as spec
from worker.training.analyses.draws import Draw, generators, normals, signs
from worker.training.analyses.findings import Findings, NotAnalysable, plain
from worker.training.analyses.objective import Product
from worker.training.analyses.subjects import Subjects

STEPS = 200
"""Of Lanczos' method, at most."""

FEWEST_STEPS = 20

BASIS_BYTES = 1 << 30

TOLERANCE = 1e-4
"""An eigenvalue has converged when its residual ‖H v − λ v‖ is below this share of the largest |λ|. The error of λ is
smaller by far: it goes with the residual's square."""

STEPS_A_CHECK = 5

EXHAUSTED = 1e-12
"""A residual below this share of the largest |λ| is rounding: the vectors at hand span all that the start reaches."""


def measure(analysis: spec.Hessian, subjects: Subjects) -> list[Findings]:
    """`largest_eigenvalue`, `trace` and `trace_standard_error` of each run; details have all the `eigenvalues`,
    descending, and their `residuals`.
    """
    objective, about = subjects.on_rows(analysis)
    parameters = subjects.network.parameters
    steps = min(STEPS, parameters, BASIS_BYTES // (8 * parameters))
    if steps < min(FEWEST_STEPS, parameters):
        most = BASIS_BYTES // (8 * FEWEST_STEPS)
        raise NotAnalysable(
            f"a network of {parameters:,} parameters is too large for its Hessian's eigenvalues: {most:,} are the most"
        )
    at_once = max(1, BASIS_BYTES // (8 * parameters * steps))
    starts = normals(generators(subjects.members, Draw.LANCZOS_START), parameters)
    random = generators(subjects.members, Draw.PROBES)
    findings = []
    for first in range(0, objective.runs, at_once):
        part = slice(first, first + at_once)
        some = objective.of(first, first + at_once)
        product = some.products(some.theta)
        count = min(analysis.eigenvalues, steps)
        eigenvalues, residuals = largest_eigenvalues(product, starts[part], count, steps)
        traces = torch.stack([_probe(product, signs(random[part], parameters)) for _ in range(analysis.probes)], 1)
        errors = traces.std(1) / analysis.probes**0.5
        findings += [
            Findings(
                {
                    "largest_eigenvalue": float(eigenvalues[run, 0]),
                    "trace": float(traces[run].mean()),
                    "trace_standard_error": float(errors[run]),
                    "loss": float(some.losses[run]),
                },
                about | {"eigenvalues": plain(eigenvalues[run]), "residuals": plain(residuals[run])},
            )
            for run in range(some.runs)
        ]
    return findings


def _probe(product: Product, vectors: Tensor) -> Tensor:
    """zᵀ H z, whose expectation is the trace for z of random signs (Hutchinson 1990): (K,)."""
    return (vectors * product(vectors)).sum(1)


def largest_eigenvalues(product: Product, starts: Tensor, count: int, steps: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues of K symmetric matrices, descending, and the norms of their residuals, (K, count) each.

    Lanczos' method on all of them at once, every new vector made orthogonal to all before it, twice (Parlett 1998, ch.
    13). A run's values are those of its own convergence, however long the others take. As any method that starts from
    one vector, it sees an eigenvalue that occurs several times only once, until the vector is exhausted.

    Args:
        product: multiplies each matrix with its vector, (K, P) to (K, P).
        starts: (K, P), random.
        count: at most `steps`.
        steps: at most P.

    """
    runs, size = starts.shape
    basis = starts.new_zeros(runs, steps, size)
    tridiagonal = starts.new_zeros(runs, steps, steps)
    found, residuals = starts.new_zeros(2, runs, count).unbind(0)
    waiting = torch.ones(runs, dtype=torch.bool)
    vector = starts / starts.norm(dim=1, keepdim=True)
    for step in range(steps):
        basis[:, step] = vector
        image = product(vector)
        tridiagonal[:, step, step] = (image * vector).sum(1)
        image = _orthogonal(image, basis[:, : step + 1])
        length = image.norm(dim=1)
        done = step + 1
        if done >= count and (done % STEPS_A_CHECK == 0 or done == steps):
            values, vectors = torch.linalg.eigh(tridiagonal[:, :done, :done])
            error = (length[:, None] * vectors[:, -1].abs())[:, -count:].flip(1)
            converged = (error <= TOLERANCE * values.abs().amax(1, keepdim=True)).all(1)
            settled = waiting & (converged if done < steps else True)
            found[settled], residuals[settled] = values[settled][:, -count:].flip(1), error[settled]
            waiting &= ~settled
            if not waiting.any():
                break
        if done == steps:
            break
        scale = tridiagonal[:, :done, :done].abs().amax((1, 2))
        exhausted = length <= EXHAUSTED * scale
        if exhausted.any():
            # An invariant subspace: go on in what is orthogonal to it. Shifted starts are as random as any.
            fresh = _orthogonal(starts.roll(done, 1) * starts.roll(-1, 1), basis[:, :done])
            image = torch.where(exhausted[:, None], fresh, image)
            length = torch.where(exhausted, 0, length)
        tridiagonal[:, step, done] = tridiagonal[:, done, step] = length
        vector = image / image.norm(dim=1, keepdim=True)
    return found, residuals


def _orthogonal(vectors: Tensor, basis: Tensor) -> Tensor:
    """What of vectors (K, P) stands at right angles to an orthonormal basis (K, J, P)."""
    for _ in range(2):
        vectors = vectors - (basis.mT @ (basis @ vectors[..., None]))[..., 0]
    return vectors
