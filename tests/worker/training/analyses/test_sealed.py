"""The sealed rows, against the engine's own predictions for them."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.worker.training.analyses.trained import members, spec_of, untrained
from worker.training import losses, networks
from worker.training.analyses import NotAnalysable, measure_sealed, sealed
from worker.training.batch_norm import RunningAverages
from worker.training.cohort_data import prepare
from worker.training.evaluate import Evaluator
from worker.training.splits import test_rows as sealed_rows

CASES: list[dict[str, Any]] = [
    {"dataset": "iris", "network": "mlp", "regularizers": ["batch_norm"]},
    {"dataset": "diabetes", "network": "mlp"},
    {"dataset": "sine", "network": "linear", "loss": "huber"},
    {"dataset": "mnist1d", "network": "gru"},
]


@pytest.mark.parametrize("fields", CASES, ids=str)
def test_outputs_and_scores_are_those_of_the_engine(fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "CHUNK_NUMBERS", 1 << 14)
    spec = spec_of(**fields)
    runs = [untrained(spec, seed) for seed in range(2)]
    data = prepare([spec] * 2, members([0, 1]), "cpu")
    numbers = sealed_rows(len(data.rows), spec.evaluation)
    assert not set(numbers) & {*data.splits[0].training, *data.splits[0].validation}
    network, targets = networks.build(spec), data.rows.targets_of(numbers)
    for run, found in enumerate(measure_sealed([spec] * 2, members([0, 1]), runs)):
        theta, values = network.rows(runs[run].tensors)
        state, averages = [theta], None
        if values is not None:
            averages = RunningAverages([r for r in spec.regularizers if r.kind == "batch_norm"], values[0])
            state.append(values)
        evaluator = Evaluator(spec, network, theta, averages, data.select(torch.tensor([run])))
        expected = evaluator.outputs_of(0, state, numbers)
        np.testing.assert_array_equal(found.arrays["rows"], numbers)
        np.testing.assert_allclose(found.arrays["outputs"], expected, rtol=1e-4, atol=1e-5)
        if spec.dataset.shape.task == "classification":
            np.testing.assert_array_equal(found.arrays["targets"], targets.argmax(1))
            likelihood = np.log(expected[np.arange(len(numbers)), targets.argmax(1)]).mean()
            assert found.findings.values["test_loss"] == pytest.approx(-likelihood, rel=1e-4)
            accuracy = (expected.argmax(1) == targets.argmax(1)).mean()
            assert found.findings.values["test_accuracy"] == pytest.approx(accuracy)
            continue
        np.testing.assert_array_equal(found.arrays["targets"], targets[:, 0])
        rmse = np.sqrt(((expected - targets) ** 2).mean())
        assert found.findings.values["test_rmse"] == pytest.approx(rmse, rel=1e-4)
        unit = 1.0 if data.target_scales is None else float(data.target_scales[run].scale[0])
        loss, kept = losses.build(spec), torch.from_numpy((expected - targets) / unit)[None]
        mean = loss.sums(kept, kept) / len(numbers)
        assert found.findings.values["test_loss"] == pytest.approx(float(mean[0]), rel=1e-4)


def test_nothing_can_be_opened_where_nothing_is_sealed() -> None:
    spec = spec_of(dataset="iris", evaluation={"kind": "holdout", "test": 0})
    with pytest.raises(NotAnalysable, match="the spec seals no rows"):
        measure_sealed([spec], members([0]), [untrained(spec, 0)])
