"""What the literature says of curvature in training, on networks that the engine has trained."""

from statistics import median
from typing import Any

import pytest

from models.spec.analyses import Hessian, Sharpness
from models.spec.job import JobSpec
from tests.worker.training.analyses.trained import members
from tests.worker.training.conftest import Train
from worker.training.analyses import Findings, TrainedRun, analyse

QUIET = {"every_steps": 2_000, "evaluate_every": 2_000}


def measured(train_runs: Train, analysis: Any, fields: dict[str, Any], runs: int) -> list[Findings]:
    heard = train_runs({"record": QUIET, **fields}, range(runs))
    trained = [TrainedRun(heard.weights(run)) for run in range(runs)]
    return analyse(analysis, [JobSpec.model_validate(fields)] * runs, members(range(runs)), trained)


@pytest.mark.parametrize(
    ("optimizer", "edge"),
    [
        ({"kind": "gradient_descent", "learning_rate": 0.1}, 2 / 0.1),
        ({"kind": "gradient_descent", "learning_rate": 0.05}, 2 / 0.05),
        ({"kind": "momentum", "learning_rate": 0.1, "momentum": 0.5}, (2 + 2 * 0.5) / 0.1),
    ],
    ids=str,
)
def test_full_batch_descent_drives_the_curvature_to_the_edge_of_stability(
    train_runs: Train, optimizer: dict[str, Any], edge: float
) -> None:
    # Cohen et al. 2021: 2/η for gradient descent, (2 + 2β)/η with heavy-ball momentum.
    fields = {
        "dataset": {"kind": "sine", "samples": 100},
        "network": {"kind": "mlp", "hidden": [32, 32], "activation": "tanh"},
        "optimizer": optimizer,
        "batch_size": "full",
        "budget": {"steps": 3_000},
    }
    found = measured(train_runs, Hessian(eigenvalues=1, probes=2), fields, 3)
    for findings in found:
        assert findings.values["largest_eigenvalue"] == pytest.approx(edge, rel=0.15)


def test_sharpness_aware_minimization_finds_flatter_minima_than_its_base(train_runs: Train) -> None:
    base = {"kind": "momentum", "learning_rate": 0.02}
    fields = {
        "dataset": {"kind": "sine", "samples": 200},
        "network": {"kind": "mlp", "hidden": [32, 32]},
        "batch_size": 16,
        "budget": {"steps": 2_000},
    }

    def medians(optimizer: dict[str, Any]) -> tuple[float, float]:
        asked = fields | {"optimizer": optimizer}
        curved = measured(train_runs, Hessian(eigenvalues=1, probes=2), asked, 5)
        steep = measured(train_runs, Sharpness(), asked, 5)
        return (
            median(findings.values["largest_eigenvalue"] for findings in curved),
            median(findings.values["adaptive_sharpness"] for findings in steep),
        )

    curvature, sharpness = medians(base)
    aware_curvature, aware_sharpness = medians({"kind": "sam", "base": base, "rho": 0.1})
    assert aware_curvature < 0.7 * curvature
    assert aware_sharpness < 0.9 * sharpness
