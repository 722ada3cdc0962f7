"""Whether probabilities mean what they say."""

from typing import Any

import torch
from torch import Tensor

from models.spec import analyses as spec
from worker.training.analyses.findings import Findings, plain
from worker.training.analyses.subjects import Subjects


def measure(analysis: spec.Calibration, subjects: Subjects) -> list[Findings]:
    """`expected_calibration_error`, `maximum_calibration_error`, `brier_score` and `negative_log_likelihood` of each
    run; details have the reliability curve, a number for each bin.
    """
    objective, about = subjects.on_rows(analysis)
    findings = []
    for said, targets in zip(objective.outputs(), objective.targets, strict=True):
        values, curve = calibration(said.log_softmax(1), targets, analysis.bins)
        findings.append(Findings(values, about | curve))
    return findings


def calibration(said: Tensor, targets: Tensor, bins: int) -> tuple[dict[str, float], dict[str, Any]]:
    """How far confidence is from accuracy, over equal bins ((b − 1) / bins, b / bins] of confidence (Guo et al. 2017).

    The expected error is Σ (rows of the bin / rows) |accuracy − confidence|, the maximum error the largest of these
    differences. The Brier score is the mean over rows of Σ (p − y)² over the classes.

    Args:
        said: log-probabilities (R, C).
        targets: one-hot (R, C).
        bins: how many.

    Returns:
        The values, and the curve: `edges` (bins + 1,), and by bin `count`, mean `confidence` and `accuracy`, which are
        None where it is empty.

    """
    probabilities = said.exp()
    confidence, likeliest = probabilities.max(1)
    right = targets.gather(1, likeliest[:, None])[:, 0]
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    place = (torch.bucketize(confidence, edges) - 1).clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins)
    confidences, accuracies = (torch.bincount(place, sums, bins) / count for sums in (confidence, right))
    gaps = (accuracies - confidences).abs().nan_to_num(0)
    values = {
        "expected_calibration_error": float((gaps * count).sum() / len(targets)),
        "maximum_calibration_error": float(gaps.max()),
        "brier_score": float((probabilities - targets).square().sum(1).mean()),
        "negative_log_likelihood": float(-(said * targets).sum(1).mean()),
    }
    curve = {
        "edges": plain(edges),
        "count": count.tolist(),
        "confidence": plain(confidences),
        "accuracy": plain(accuracies),
    }
    return values, curve
