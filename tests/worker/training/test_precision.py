"""bfloat16 in matrix products, against torch.autocast."""

from typing import Any

import numpy as np
import pytest
import torch

from models.spec.job import JobSpec
from models.spec.regularizers import BatchNorm
from tests.worker.training.test_invariance import DIGITS, ODD, assert_company_is_invisible, spec
from tests.worker.training.torch_networks import torch_network
from worker.training import networks
from worker.training.batch_norm import RunningAverages

NETWORKS: list[tuple[str, Any]] = [
    ("digits", {"kind": "mlp", "hidden": [48, 32]}),
    ("digits", "cnn"),
    ("mnist1d", "cnn1d"),
    ("mnist1d", "gru"),
    ("digits", {"kind": "resnet", "width": 4}),
]


@pytest.mark.parametrize(("dataset", "network"), NETWORKS, ids=str)
@pytest.mark.parametrize("alone", [False, True], ids=["stacked", "alone"])
def test_outputs_in_bfloat16_are_as_near_to_float32_as_those_of_autocast(
    monkeypatch: pytest.MonkeyPatch, dataset: str, network: Any, alone: bool
) -> None:
    monkeypatch.setattr(networks, "trains_alone", lambda _: alone)
    given = {"dataset": dataset, "network": network, "optimizer": "sgd"}
    whole, rounded = (JobSpec.model_validate(given | {"precision": p}) for p in ("float32", "bfloat16"))
    torch.manual_seed(0)
    row = torch.from_numpy(networks.build(whole).initial(1))
    plain = torch_network(whole).eval()
    built = networks.build(rounded)
    averages = torch.from_numpy(built.initial_averages())
    plain.load(built.named(row, averages))
    x = torch.randn(32, whole.dataset.shape.features)
    with torch.no_grad():
        exact = plain(x)
        with torch.autocast("cpu", torch.bfloat16):
            autocast = plain(x).float()
    kept = RunningAverages([BatchNorm()], averages) if built.statistics else None
    ours = built.bind(row[None], None, 32, kept).forward(torch.cat([x, torch.ones(32, 1)], 1)[None])[0]
    error, peer = (ours - exact).abs().mean(), (autocast - exact).abs().mean()
    assert 0 < error < 2 * peer
    assert error < 0.05 * exact.abs().mean()


@pytest.mark.parametrize("base", [ODD, DIGITS], ids=["odd", "digits"])
def test_no_run_in_bfloat16_sees_its_company(train_runs: Any, base: dict[str, Any]) -> None:
    assert_company_is_invisible(train_runs, spec(base, 12, precision="bfloat16"), [[0, 1, 2, 3, 4], [4, 2]])


def test_training_in_bfloat16_follows_training_in_float32(train_runs: Any) -> None:
    given = spec(DIGITS, 60, optimizer={"kind": "sgd", "learning_rate": 0.1}, network={"kind": "mlp", "hidden": [32]})
    whole = train_runs(given, [0]).values(0, "train_loss")
    rounded = train_runs(given | {"precision": "bfloat16"}, [0]).values(0, "train_loss")
    assert not np.array_equal(whole, rounded)
    np.testing.assert_allclose(rounded, whole, rtol=0.05)
