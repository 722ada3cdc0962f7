"""What a comparison tells of networks beside their histories."""

from typing import Any

from models.answers import Answer, Estimate


class RunAnalysis(Answer):
    """What was measured of one trained network."""

    job_id: str
    run_id: str
    seed: int
    member: int
    kind: str
    options: dict[str, Any]
    values: dict[str, float | None]


class JobTestScores(Answer):
    """What the sealed rows say of a job that was opened. Nothing was selected or ranked by it."""

    job_id: str
    look: int
    """Which look of its experiment at sealed rows it was."""
    looks_at_dataset: int
    """How many jobs on its data set had been opened by then."""
    runs: int
    """Runs that were measured."""
    scores: dict[str, Estimate]
    """Over seeds."""
