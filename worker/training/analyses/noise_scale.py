"""How noisy the gradient of a batch is."""

from math import inf

import numpy as np
import torch
from torch import Tensor

from models.spec import analyses as spec
from worker.training.analyses.draws import Draw, generators
from worker.training.analyses.findings import Findings, NotAnalysable, plain
from worker.training.analyses.subjects import Subjects


def measure(analysis: spec.GradientNoiseScale, subjects: Subjects) -> list[Findings]:
    """`noise_scale` tr Σ / |G|² of each run, and its parts (McCandlish et al. 2018, appendix A.1).

    From a small and a large batch, with E |G_B|² = |G|² + tr Σ / B:
    |G|² ≈ (B |G_B|² − b |G_b|²) / (B − b) and tr Σ ≈ (|G_b|² − |G_B|²) / (1/b − 1/B), each averaged over the pairs.
    Batches are drawn without replacement, the small one from the large one, so that both parts are unbiased for the
    distribution that the rows come from. Where |G|² comes out no larger than zero, as it may near a minimum, the
    gradient is lost in noise, and its noise scale is infinite.
    """
    objective, about = subjects.on_rows(analysis)
    small, large = analysis.small, min(analysis.large, objective.rows)
    if small >= large:
        raise NotAnalysable(
            f"the {objective.rows:,} rows are no more than a small batch of {small:,}: take fewer rows for it"
        )
    random = generators(subjects.members, Draw.BATCHES)
    pairs = []
    for _ in range(analysis.pairs):
        drawn = np.stack([generator.permutation(objective.rows)[:large] for generator in random])
        rows = torch.from_numpy(drawn)
        _, inner = objective.on(rows[:, :small]).gradients(objective.theta)
        _, outer = objective.on(rows[:, small:]).gradients(objective.theta)
        pairs.append(_parts(inner, outer, small, large))
    signal, noise = torch.stack(pairs, 2)  # (K, pairs) each
    return [
        Findings(
            {
                "noise_scale": float(of_noise / of_signal) if of_signal > 0 else inf,
                "gradient_squared": float(of_signal),
                "trace_of_covariance": float(of_noise),
            },
            about
            | {"small": small, "large": large}
            | {"gradient_squared": plain(signal[run]), "trace_of_covariance": plain(noise[run])},
        )
        for run, (of_signal, of_noise) in enumerate(zip(signal.mean(1), noise.mean(1), strict=True))
    ]


def _parts(inner: Tensor, outer: Tensor, small: int, large: int) -> Tensor:
    """|G|² and tr Σ of one pair, (2, K), from the gradients (K, P) of a small batch and of the rest of a large one."""
    whole = (small * inner + (large - small) * outer) / large
    of_small, of_large = inner.square().sum(1), whole.square().sum(1)
    signal = (large * of_large - small * of_small) / (large - small)
    noise = (of_small - of_large) / (1 / small - 1 / large)
    return torch.stack([signal, noise])
