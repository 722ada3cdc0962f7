"""What holds for every analysis."""

import json
from typing import Any

import pytest

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
from tests.worker.training.analyses.trained import members, spec_of, untrained
from worker.training.analyses import Findings, analyse, measure_sealed, subjects
from worker.training.analyses.findings import plain
from worker.training.randomness import Member

ANALYSES: list[Any] = [
    Sharpness(rows=40),
    Sharpness(rows=40, subspace=5),
    Hessian(rows=40, probes=4),
    GradientNoiseScale(rows=40, small=4, large=20, pairs=5),
    LossLandscape(rows=40, points=5),
    Calibration(),
    Line(to="run_9", rows=40),
]
NETWORKS: list[dict[str, Any]] = [
    {"dataset": "iris", "network": {"kind": "mlp", "hidden": [8]}, "regularizers": [{"kind": "batch_norm"}]},
    {"dataset": "mnist1d", "network": {"kind": "cnn1d", "channels": [4], "kernels": [5], "activation": "tanh"}},
]
SEEDS = [3, 0, 2**32 - 1]


def assert_alike(one: Any, two: Any) -> None:
    """Equal but for rounding."""
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_alike(one[key], two[key])
    elif isinstance(one, list):
        assert len(one) == len(two)
        for left, right in zip(one, two, strict=True):
            assert_alike(left, right)
    elif isinstance(one, float):
        assert one == pytest.approx(two, rel=1e-5, abs=1e-7)
    else:
        assert one == two


def measured(analysis: LaterAnalysis, spec: JobSpec, seeds: list[int]) -> list[Findings]:
    # ε of batch normalization may differ from run to run.
    rules = [[r.model_copy(update={"epsilon": 1e-5 * (1 + s % 5)}) for r in spec.regularizers] for s in seeds]
    specs = [spec.model_copy(update={"regularizers": tuple(own)}) for own in rules]
    runs = [untrained(spec, seed) for seed in seeds]
    return analyse(analysis, specs, members(seeds), runs, other=untrained(spec, 9))


@pytest.mark.parametrize("fields", NETWORKS, ids=["mlp", "cnn1d"])
@pytest.mark.parametrize("analysis", ANALYSES, ids=str)
def test_a_run_measures_the_same_in_company_and_alone(
    analysis: Any, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(**fields)
    together = measured(analysis, spec, SEEDS)
    for seed, findings in zip(SEEDS, together, strict=True):
        (alone,) = measured(analysis, spec, [seed])
        assert_alike([findings.values, findings.details], [alone.values, alone.details])
    monkeypatch.setattr(subjects, "MOST_BYTES", 1)  # every run is a group of its own
    for findings, again in zip(together, measured(analysis, spec, SEEDS), strict=True):
        assert_alike([findings.values, findings.details], [again.values, again.details])


@pytest.mark.parametrize("analysis", ANALYSES, ids=str)
def test_details_are_plain_json_and_say_what_was_measured_and_how(analysis: Any) -> None:
    spec = spec_of(**NETWORKS[0])
    for findings in measured(analysis, spec, SEEDS):
        assert json.loads(json.dumps(findings.details, allow_nan=False)) == findings.details
        assert findings.details["split"] == analysis.split
        assert findings.details["rows"] == (30 if isinstance(analysis, Calibration) else 40)
        assert findings.details["dtype"] == "float64"
        assert findings.details["mode"] == "evaluation"
        assert all(type(value) is float for value in findings.values.values())


def test_what_is_not_finite_has_no_place_in_json() -> None:
    assert plain([[1, float("nan")], [float("-inf"), 2.5]]) == [[1, None], [None, 2.5]]


@pytest.mark.parametrize(
    "evaluation",
    [{"kind": "k_fold", "folds": 3}, {"kind": "bootstrap", "replicates": 2}, {"kind": "bagging", "ensemble": 2}],
    ids=str,
)
def test_members_of_a_seed_are_measured_on_their_own_rows(evaluation: dict[str, Any]) -> None:
    spec = spec_of(dataset="iris", network={"kind": "mlp", "hidden": [4]}, evaluation=evaluation)
    run = untrained(spec, 0)
    own = [Member(seed, number) for seed in (0, 1) for number in range(spec.evaluation.members)]
    found = analyse(Hessian(rows=16, probes=2), [spec] * len(own), own, [run] * len(own))
    assert len({findings.values["loss"] for findings in found}) == len(own)
    sealed = measure_sealed([spec] * len(own), own, [run] * len(own))
    assert len({tuple(one.arrays["rows"]) for one in sealed}) == 1
