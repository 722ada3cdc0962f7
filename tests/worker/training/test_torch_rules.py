"""What torch itself updates, against torch.optim on plain torch.nn."""

from typing import Any

import numpy as np
import pytest
import torch

from models.spec.job import JobSpec
from models.spec.plan import PlanError, plan
from tests.worker.training.plain import Plain

BASE: dict[str, Any] = {
    "dataset": "breast_cancer",
    "network": {"kind": "mlp", "hidden": [9, 5], "activation": "tanh"},
    "record": {"every_steps": 1, "evaluate_every": 10},
    "regularizers": [{"kind": "l2", "weight": 1e-2}],
}
SEED = 3


def test_muon_trains_as_torch_does_with_adamw_for_what_is_no_hidden_weight(train_runs: Any) -> None:
    optimizer = {"kind": "muon", "learning_rate": 0.02, "adamw_learning_rate": 0.003}
    schedule = {"kind": "step", "every_steps": 100, "gamma": 0.5}
    spec = BASE | {"optimizer": optimizer, "batch_size": 16, "budget": {"steps": 200}, "schedule": schedule}
    heard, plain = train_runs(spec, [SEED]), Plain(JobSpec.model_validate(spec), SEED)
    named = dict(plain.module.named_parameters())
    hidden = ["layers.0.weight", "layers.1.weight"]
    muon = torch.optim.Muon([named[name] for name in hidden], lr=0.02)
    adamw = torch.optim.AdamW([p for name, p in named.items() if name not in hidden], lr=0.003, weight_decay=0)
    losses = []
    for step in range(200):
        plain.module.zero_grad()
        loss = plain.batch_loss(step) + plain.penalty()
        loss.backward()  # type: ignore[no-untyped-call]
        for each, rate in ((muon, 0.02), (adamw, 0.003)):
            each.param_groups[0]["lr"] = rate * 0.5 ** (step // 100)
            each.step()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
    # Newton and Schulz iterate in bfloat16.
    np.testing.assert_allclose(heard.values(0, "train_loss")[:20], losses[:20], rtol=2e-2)
    assert np.mean(heard.values(0, "train_loss")[-50:]) == pytest.approx(np.mean(losses[-50:]), rel=0.05)
    assert np.mean(losses[-50:]) < 0.3 * losses[0]


@pytest.mark.parametrize("line_search", [True, False])
@pytest.mark.parametrize("iterations", [1, 4])
def test_lbfgs_trains_as_torch_does(train_runs: Any, line_search: bool, iterations: int) -> None:
    optimizer = {"kind": "lbfgs", "line_search": line_search, "iterations": iterations, "history": 5}
    optimizer |= {} if line_search else {"learning_rate": 0.2}
    spec = BASE | {"optimizer": optimizer, "budget": {"steps": 12}}
    heard, plain = train_runs(spec, [SEED]), Plain(JobSpec.model_validate(spec), SEED)
    peer = torch.optim.LBFGS(
        plain.module.parameters(),
        lr=1.0 if line_search else 0.2,
        max_iter=iterations,
        max_eval=25 * iterations,
        history_size=5,
        line_search_fn="strong_wolfe" if line_search else None,
        tolerance_grad=0,
        tolerance_change=0,
    )
    losses = []
    for step in range(12):

        def closure(step: int = step) -> float:
            plain.module.zero_grad()
            loss = plain.batch_loss(step) + plain.penalty()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.item()

        losses.append(peer.step(closure))  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(heard.values(0, "train_loss"), losses, rtol=5e-3)
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("seed", range(4))
def test_lbfgs_searches_until_the_loss_falls(train_runs: Any, seed: int) -> None:
    heard = train_runs(BASE | {"optimizer": "lbfgs", "budget": {"steps": 40}}, [seed])
    losses = heard.values(0, "train_loss")
    assert losses[-1] < losses[0] / 3


def test_lbfgs_moves_the_running_averages_once_an_update(train_runs: Any) -> None:
    regularizers = [{"kind": "batch_norm", "momentum": 0.5}]
    spec = BASE | {"optimizer": {"kind": "lbfgs", "learning_rate": 1e-9, "line_search": False, "iterations": 5}}
    given = spec | {"budget": {"steps": 3}, "regularizers": regularizers}
    still = given | {"optimizer": {"kind": "gradient_descent", "learning_rate": 1e-9}}
    found, expected = train_runs(given, [SEED]).weights(0), train_runs(still, [SEED]).weights(0)
    np.testing.assert_allclose(found["norms.0.running_mean"], expected["norms.0.running_mean"], rtol=1e-4, atol=1e-6)


def test_an_optimizer_of_the_package_trains_as_by_hand(train_runs: Any) -> None:
    package = pytest.importorskip("pytorch_optimizer", reason="the extra `optimizers` is not installed")
    optimizer = {"kind": "pytorch_optimizer", "name": "lion", "learning_rate": 1e-3, "options": {"betas": [0.9, 0.95]}}
    spec = BASE | {"optimizer": optimizer, "batch_size": 16, "budget": {"steps": 100}}
    heard, plain = train_runs(spec, [SEED]), Plain(JobSpec.model_validate(spec), SEED)
    peer = package.load_optimizer("lion")(plain.module.parameters(), lr=1e-3, betas=[0.9, 0.95])
    losses = []
    for step in range(100):
        plain.module.zero_grad()
        loss = plain.batch_loss(step) + plain.penalty()
        loss.backward()  # type: ignore[no-untyped-call]
        peer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(heard.values(0, "train_loss"), losses, rtol=1e-2)


@pytest.mark.parametrize("optimizer", ["muon", "lbfgs"])
def test_two_runs_do_not_ride_together(train_runs: Any, optimizer: str) -> None:
    with pytest.raises(ValueError, match="one run at a time"):
        train_runs(BASE | {"optimizer": optimizer, "budget": {"steps": 2}}, [0, 1])


@pytest.mark.parametrize("network", ["cnn1d", "gru"])
def test_muon_takes_the_hidden_weights_of_other_networks(train_runs: Any, network: str) -> None:
    spec = {"dataset": "mnist1d", "network": network, "optimizer": {"kind": "muon", "learning_rate": 0.02}}
    heard = train_runs(spec | {"budget": {"steps": 40}, "record": BASE["record"]}, [SEED])
    assert heard.values(0, "train_loss")[-5:].mean() < heard.values(0, "train_loss")[0]


def test_a_network_without_hidden_weights_is_refused() -> None:
    with pytest.raises(PlanError, match="hidden layers") as refused:
        plan(JobSpec.model_validate(BASE | {"optimizer": "muon", "network": "linear", "regularizers": []}))
    assert refused.value.pointer == "/optimizer"
