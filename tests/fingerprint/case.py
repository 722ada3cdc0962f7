"""A case of the fingerprint: specs whose runs train as one cohort."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from models.spec.analyses import LaterAnalysis
from models.spec.job import FULL_BATCH_KINDS, JobSpec
from models.spec.plan import plan
from models.spec.uploads import Uploaded
from tests.fingerprint.uploads import Uploads
from tests.worker.training.uploads import settled

Fields = Mapping[str, Any]
"""Fields of a spec as JSON. `analyses` may name those that a spec cannot request, such as a line."""

BASE: Fields = {
    "dataset": "iris",
    "network": {"kind": "mlp", "hidden": [16, 8]},
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "batch_size": 16,
    "budget": {"steps": 40},
    "record": {"every_steps": 1, "evaluate_every": 10},
    "seeds": 2,
}

_ANALYSIS: TypeAdapter[LaterAnalysis] = TypeAdapter(LaterAnalysis)


@dataclass(frozen=True)
class Case:
    """Specs that share a cohort key, and what is measured of their runs."""

    specs: tuple[JobSpec, ...]
    analyses: tuple[LaterAnalysis, ...] = ()
    from_disk: bool = False
    """Whether the rows stay on disk, as if they did not fit in memory."""


def make_case(uploads: Uploads, *specs: Fields, from_disk: bool = False) -> Case:
    """Return the case of the specs that differ from BASE in these fields.

    Raises:
        ValueError: if a spec is invalid.

    """
    analyses = [_ANALYSIS.validate_python(analysis) for fields in specs for analysis in fields.get("analyses", ())]
    return Case(tuple(_spec(uploads, {**BASE, **fields}) for fields in specs), tuple(analyses), from_disk)


def _spec(uploads: Uploads, fields: Fields) -> JobSpec:
    kind = fields["optimizer"] if isinstance(fields["optimizer"], str) else fields["optimizer"]["kind"]
    left_out = {"analyses", "batch_size"} if kind in FULL_BATCH_KINDS else {"analyses"}
    fields = {name: value for name, value in fields.items() if name not in left_out}
    spec = JobSpec.model_validate(fields)
    if isinstance(spec.dataset, Uploaded):
        spec = settled(uploads.open(spec.dataset), **fields)
    plan(spec)
    return spec
