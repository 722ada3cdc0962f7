"""The metrics' names, units and directions: the vocabulary of every history."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One named quantity of a run's history."""

    name: str
    description: str
    better: Literal["lower", "higher"] | None = None
    """Which direction is an improvement; None where neither is."""
    unit: str = ""


METRICS = {
    metric.name: metric
    for metric in (
        Metric("train_loss", "Loss of the training batch as optimized: with penalties, dropout active", "lower"),
        Metric("clean_train_loss", "Loss over training rows in evaluation mode, without penalties", "lower"),
        Metric("validation_loss", "Loss over the validation split in evaluation mode, without penalties", "lower"),
        Metric("generalization_gap", "validation_loss − clean_train_loss"),
        Metric(
            "clean_train_accuracy",
            "Share of training rows classified correctly, in evaluation mode",
            "higher",
        ),
        Metric("validation_accuracy", "Share of the validation split classified correctly", "higher"),
        Metric("validation_rmse", "Root mean squared error over the validation split", "lower"),
        Metric("validation_r2", "Share of the validation target's variance explained", "higher"),
        Metric("gradient_norm", "Euclidean norm of the gradient of the last batch"),
        Metric("parameter_norm", "Euclidean norm of all parameters"),
        Metric("update_ratio", "Norm of the last update over the norm of the parameters"),
        Metric("learning_rate", "Learning rate of the last update: the optimizer's times the schedule's factor"),
        Metric("train_seconds", "Wall time of training so far", unit="s"),
    )
}

DEFAULT_METRIC = "validation_loss"
