"""metrics.md and settings.md: what metrics and environment variables are called, and what they mean."""

from typing import Any

from docs.generating.markdown import ORIGIN, Parts, table
from models.metrics import METRICS
from models.settings import Settings


def metrics() -> Parts:
    yield "# Metrics"
    yield ORIGIN
    yield "The names in every run's history."
    rows = [
        (f"`{metric.name}`", metric.description + (f" ({metric.unit})" if metric.unit else ""), metric.better or "–")
        for metric in METRICS.values()
    ]
    yield table(("metric", "what it is", "better"), rows)


def settings() -> Parts:
    yield "# Settings"
    yield ORIGIN
    yield (
        "The API and the workers read the same environment variables. "
        "A file `/run/secrets/descent_<name>` sets `<name>` too, so that passwords need not stand in an environment."
    )
    rows = [
        (f"`DESCENT_{name.upper()}`", f"`{_shown(field.default)}`", field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    yield table(("variable", "default", "meaning"), rows)


def _shown(default: Any) -> str:
    return "" if default is None else str(default).replace("'", '"')
