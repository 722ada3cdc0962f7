"""What one job may ask for here: an installation's settings may lie below what the software can do."""

from collections.abc import Iterator

from api.errors import Refusal, invalid
from models.settings import Settings
from models.spec.job import JobSpec
from models.spec.plan import Plan


def demand_within(spec: JobSpec, counted: Plan, settings: Settings) -> None:
    """Let a spec pass.

    Raises:
        Refusal: if it asks for more of something than this installation allows; it names the place and the setting.

    """
    for pointer, asked, setting, what in _asked(spec, counted):
        most = getattr(settings, setting)
        if asked > most:
            raise _too_much(pointer, f"{asked:,} {what} exceed the {most:,}", setting)


def _asked(spec: JobSpec, counted: Plan) -> Iterator[tuple[str, int, str, str]]:
    """Where it is asked, how much, the setting that limits it, and what it is."""
    widths = spec.network.widths
    yield "/network", len(widths), "max_layers", "layers"
    yield "/network", max(widths, default=0), "max_width", "units of a layer"
    yield "/network", counted.parameters, "max_parameters", "parameters"
    yield "/network", counted.least_bytes, "max_job_memory_bytes", "bytes a run"
    yield "/budget", counted.steps, "max_steps", "steps"
    yield "/budget/epochs", spec.budget.epochs or 0, "max_epochs", "epochs"
    yield "/batch_size", 0 if spec.batch_size == "full" else counted.batch_rows, "max_batch_rows", "rows of a batch"
    yield "/seeds", len(spec.runs), "max_job_runs", "runs"


def _too_much(pointer: str, told: str, setting: str) -> Refusal:
    detail = f"{told} that this installation allows (DESCENT_{setting.upper()})"
    return invalid(pointer, "asks_for_too_much", detail)
