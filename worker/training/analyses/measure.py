"""From an analysis of the spec to what measures it."""

from collections.abc import Sequence
from typing import assert_never

from models.spec.analyses import (
    Calibration,
    GradientNoiseScale,
    Hessian,
    LaterAnalysis,
    Line,
    LossLandscape,
    Sharpness,
)
from models.spec.job import JobSpec
from worker.training.analyses import calibration, hessian, landscape, line, noise_scale, sharpness
from worker.training.analyses.findings import Findings, NotAnalysable
from worker.training.analyses.networks import TrainedRun
from worker.training.analyses.subjects import Subjects, as_alone, in_groups
from worker.training.randomness import Member
from worker.training.splits import Round
from worker.training.stored import StoredData


def analyse(
    analysis: LaterAnalysis,
    specs: Sequence[JobSpec],
    members: Sequence[Member],
    weights: Sequence[TrainedRun],
    *,
    other: TrainedRun | None = None,
    rounds: Sequence[Round | None] | None = None,
    stored: StoredData | None = None,
    streams: bool = False,
) -> list[Findings]:
    """Measure run k, which trained as `specs[k]` asks and as `members[k]`, at the weights that it left.

    All specs share a cohort key. What comes out for a run does not depend on the others, but for rounding. `other` is
    the far end of a `Line`; `rounds`, `stored` and `streams` are those of `cohort_data.prepare`.

    Raises:
        NotAnalysable: if there is nothing to measure.

    """
    if misfit := analysis.misfit(specs[0].dataset.shape):
        raise NotAnalysable(misfit)
    with as_alone(specs[0]):
        return [
            findings
            for subjects in in_groups(specs, members, weights, rounds, stored, streams)
            for findings in _of_group(analysis, subjects, other)
        ]


def _of_group(analysis: LaterAnalysis, subjects: Subjects, other: TrainedRun | None) -> list[Findings]:
    match analysis:
        case Sharpness():
            return sharpness.measure(analysis, subjects)
        case Hessian():
            return hessian.measure(analysis, subjects)
        case GradientNoiseScale():
            return noise_scale.measure(analysis, subjects)
        case LossLandscape():
            return landscape.measure(analysis, subjects)
        case Calibration():
            return calibration.measure(analysis, subjects)
        case Line():
            if other is None:
                raise ValueError("a line needs its other end")
            return line.measure(analysis, subjects, other)
        case _:
            assert_never(analysis)
