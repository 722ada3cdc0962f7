"""Measurements of trained networks: of their weights, in float64 and evaluation mode."""

from worker.training.analyses.findings import Findings, NotAnalysable
from worker.training.analyses.measure import analyse
from worker.training.analyses.networks import TrainedRun
from worker.training.analyses.sealed import Sealed, measure_sealed

__all__ = ["Findings", "NotAnalysable", "Sealed", "TrainedRun", "analyse", "measure_sealed"]
