"""An installation may allow less than the software can do, of everything that a job can ask for."""

from typing import Any

import pytest

from api.ceilings import demand_within
from api.errors import Refusal
from models.settings import Settings
from models.spec.job import JobSpec
from models.spec.plan import plan
from tests.api.specs import spec

IMAGES = {"dataset": "digits", "evaluation": {"kind": "holdout", "validation": 0.2}}


def refusal(limits: dict[str, int], **changes: Any) -> tuple[str, str] | None:
    """The pointer and the words with which a spec is refused."""
    wanted = JobSpec.model_validate(spec(**changes))
    try:
        demand_within(wanted, plan(wanted), Settings.model_validate(limits))
    except Refusal as refused:
        (error,) = refused.errors
        return error.pointer, error.detail
    return None


@pytest.mark.parametrize(
    ("limits", "changes", "pointer"),
    [
        ({"max_layers": 2}, {"network": {"kind": "mlp", "hidden": [4, 4, 4]}}, "/network"),
        ({"max_width": 63}, {"network": {"kind": "mlp", "hidden": [4, 64]}}, "/network"),
        ({"max_width": 31}, IMAGES | {"network": {"kind": "cnn", "channels": [8, 32]}}, "/network"),
        ({"max_width": 63}, IMAGES | {"network": {"kind": "resnet", "width": 16}}, "/network"),
        ({"max_layers": 6}, IMAGES | {"network": {"kind": "resnet", "depth": 8}}, "/network"),
        ({"max_parameters": 100}, {}, "/network"),
        ({"max_job_memory_bytes": 1_000}, {}, "/network"),
        ({"max_steps": 99}, {}, "/budget"),
        ({"max_epochs": 2}, {"budget": {"epochs": 3}}, "/budget/epochs"),
        ({"max_batch_rows": 31}, {"batch_size": 32}, "/batch_size"),
        ({"max_job_runs": 9}, {"seeds": 10}, "/seeds"),
    ],
)
def test_what_exceeds_a_limit_is_refused_with_its_place_and_the_setting(
    limits: dict[str, int], changes: dict[str, Any], pointer: str
) -> None:
    found = refusal(limits, **changes)
    assert found is not None
    (setting,) = limits
    assert found[0] == pointer
    assert f"DESCENT_{setting.upper()}" in found[1]
    assert f"{limits[setting]:,}" in found[1]


def test_the_defaults_allow_what_the_software_can_do() -> None:
    assert refusal({}, network={"kind": "mlp", "hidden": [8] * 64}, seeds=1_000, budget={"steps": 10_000_000}) is None


@pytest.mark.parametrize("name", ["max_layers", "max_steps", "max_job_runs", "max_sweep_runs", "max_body_bytes"])
def test_a_setting_cannot_promise_more_than_the_software_does(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.model_validate({name: 10**9})
