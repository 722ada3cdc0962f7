"""A run's bits do not depend on the company it keeps."""

from typing import Any, get_args

import pytest
import torch

from models.spec.component import choices
from models.spec.networks import Activation
from models.spec.optimizers import GradientDescent, Optimizer
from models.spec.regularizers import Regularizer
from worker.training import batches, observer
from worker.training.boundary import Leave, Result

W1: dict[str, Any] = {"dataset": "sine", "network": {"kind": "mlp", "hidden": [64, 64]}, "optimizer": "adam"}
DIGITS: dict[str, Any] = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [256, 128]}, "optimizer": "adam"}
ODD: dict[str, Any] = {
    "dataset": {"kind": "sine", "samples": 200},
    "network": {"kind": "mlp", "hidden": [33, 7, 13], "activation": "tanh"},
    "optimizer": "adam",
    "batch_size": 13,
}
RECORD = {"every_steps": 1, "evaluate_every": 10}


def spec(base: dict[str, Any], steps: int = 30, **changes: Any) -> dict[str, Any]:
    return base | {"budget": {"steps": steps}, "record": RECORD} | changes


def assert_company_is_invisible(train_runs: Any, spec: dict[str, Any], cohorts: list[list[int]]) -> None:
    """Train the first cohort's runs in every company: alone, and in each of the cohorts."""
    reference = train_runs(spec, cohorts[0])
    bits = {seed: reference.bits(row) for row, seed in enumerate(cohorts[0])}
    for seed in cohorts[0][:2]:
        assert train_runs(spec, [seed]).bits(0) == bits[seed], f"seed {seed} alone"
    for cohort in cohorts[1:]:
        heard = train_runs(spec, cohort)
        for row, seed in enumerate(cohort):
            assert heard.bits(row) == bits[seed], f"seed {seed} among {len(cohort)}"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("base", [W1, DIGITS], ids=["sine", "digits"])
def test_a_run_has_the_same_bits_among_1_2_5_16_and_64(train_runs: Any, base: dict[str, Any], threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        cohorts = [list(range(64)), list(range(16)), [40, 3, 63, 0, 17], [63, 62]]
        assert_company_is_invisible(train_runs, spec(base, steps=20), cohorts)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("base", [W1, DIGITS, ODD], ids=["sine", "digits", "odd"])
def test_a_run_has_the_same_bits_on_one_thread_and_on_two(train_runs: Any, base: dict[str, Any]) -> None:
    before = torch.get_num_threads()
    heard = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            heard.append(train_runs(spec(base), [0, 1, 2]))
            heard.append(train_runs(spec(base), [0]))
    finally:
        torch.set_num_threads(before)
    assert len({repr(h.bits(0)) for h in heard}) == 1


@pytest.mark.parametrize("kind", [c.model_fields["kind"].default for c in choices(Optimizer)])
@pytest.mark.parametrize("base", [ODD, DIGITS], ids=["odd", "digits"])
def test_no_optimizer_sees_its_company(train_runs: Any, base: dict[str, Any], kind: str) -> None:
    changes = {"optimizer": kind} | ({"batch_size": "full"} if kind == "gradient_descent" else {})
    assert_company_is_invisible(train_runs, spec(base, steps=15, **changes), [[0, 1, 2, 3, 4], [4, 2]])


DIFFERENT: dict[str, list[dict[str, Any]]] = {
    "learning_rate": [{"learning_rate": rate} for rate in (0.01, 0.003, 0.02)],
    "momentum": [{"momentum": m} for m in (0.9, 0.5, 0.0)],
    "betas": [{"betas": b} for b in ((0.9, 0.999), (0.5, 0.9), (0.0, 0.99))],
    "epsilon": [{"epsilon": e} for e in (1e-8, 1e-3, 1e-5)],
    "weight_decay": [{"weight_decay": w} for w in (0.0, 0.1, 0.01)],
    "rho": [{"rho": r} for r in (0.9, 0.1, 0.5)],
    "alpha": [{"alpha": a} for a in (0.99, 0.2, 0.5)],
    "learning_rate_decay": [{"learning_rate_decay": d} for d in (0.0, 0.1, 0.01)],
    "initial_accumulator": [{"initial_accumulator": a} for a in (0.0, 0.1, 1.0)],
}


@pytest.mark.parametrize("component", list(choices(Optimizer)), ids=lambda c: c.__name__)
def test_runs_with_different_hyperparameters_each_equal_their_lone_run(train_runs: Any, component: Any) -> None:
    base = spec(ODD, steps=12)
    if component is GradientDescent:
        base |= {"batch_size": "full"}
    kind = component.model_fields["kind"].default
    for name in set(component.model_fields) - {"kind"}:
        values = [v for v in DIFFERENT[name] if not (kind == "nesterov" and v.get("momentum") == 0.0)]
        specs = [base | {"optimizer": {"kind": kind} | value} for value in values]
        heard = train_runs(specs, list(range(len(specs))))
        for row, lone in enumerate(specs):
            assert train_runs(lone, [row]).bits(0) == heard.bits(row), (name, row)


REGULARIZERS: dict[str, list[dict[str, Any]]] = {
    "l1": [{"weight": 1e-3}, {"weight": 0.0}, {"weight": 1e-2}],
    "l2": [{"weight": 1e-3}, {"weight": 0.0}, {"weight": 1e-2}],
    "elastic_net": [{"weight": 1e-3, "l1_ratio": 0.2}, {"l1_ratio": 0.0}, {"l1_ratio": 1.0}],
    "dropout": [{"probability": 0.5}, {"probability": 0.0}, {"probability": 0.2}],
    "early_stopping": [{"patience": 1, "min_delta": 0.5}, {"patience": 2}, {"patience": 10}],
}


@pytest.mark.parametrize("kind", [c.model_fields["kind"].default for c in choices(Regularizer)])
@pytest.mark.parametrize("base", [ODD, DIGITS], ids=["odd", "digits"])
def test_no_regularizer_sees_its_company(train_runs: Any, base: dict[str, Any], kind: str) -> None:
    specs = [spec(base, regularizers=[{"kind": kind} | options]) for options in REGULARIZERS[kind]]
    heard = train_runs(specs, [5, 6, 7])
    for row, lone in enumerate(specs):
        assert train_runs(lone, [5 + row]).bits(0) == heard.bits(row)


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("dataset", ["diabetes", "breast_cancer"])
def test_no_activation_sees_its_company(train_runs: Any, dataset: str, activation: str) -> None:
    network = {"kind": "mlp", "hidden": [33, 1, 65], "activation": activation}
    base = {"dataset": dataset, "network": network, "optimizer": "adam", "batch_size": 50}
    assert_company_is_invisible(train_runs, spec(base), [[0, 1, 2, 3, 4], [4, 2]])


@pytest.mark.parametrize("dataset", ["sine", "digits", "breast_cancer"])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 9, "full"])
def test_no_linear_network_and_no_batch_size_sees_its_company(
    train_runs: Any, dataset: str, batch_size: int | str
) -> None:
    base = {"dataset": dataset, "network": "linear", "optimizer": "momentum", "batch_size": batch_size}
    assert_company_is_invisible(train_runs, spec(base), [[0, 1, 2, 3, 4], [4, 2]])


def test_neighbours_that_leave_change_nothing(train_runs: Any) -> None:
    asked: list[int] = []

    def directives() -> dict[int, Leave]:
        asked.append(1)
        return {1: Leave.CANCELLED, 3: Leave.RELEASED} if len(asked) > 1 else {}

    long = spec(DIGITS, steps=600) | {"record": {"every_steps": 10, "evaluate_every": 100}}
    alone = [train_runs(long, [seed]).bits(0) for seed in (0, 2)]
    heard = train_runs(long, [0, 1, 2, 3], directives)
    assert heard.endings[1].result is Leave.CANCELLED
    assert heard.endings[3].result is Leave.RELEASED
    assert heard.endings[1].weights is None
    assert 0 < heard.endings[1].step < 600
    assert [heard.bits(0), heard.bits(2)] == alone


def test_neighbours_that_diverge_or_stop_early_change_nothing(train_runs: Any) -> None:
    def one(rate: float, patience: int) -> dict[str, Any]:
        stopping = {"kind": "early_stopping", "patience": patience}
        return spec(ODD, 60, optimizer={"kind": "sgd", "learning_rate": rate}, regularizers=[stopping])

    specs = [one(0.01, 100), one(1e4, 100), one(1e-6, 1), one(0.02, 100), one(1e5, 100)]
    heard = train_runs(specs, range(5))
    results = [heard.endings[row].result for row in range(5)]
    assert results[1] == results[4] == Result.DIVERGED
    assert results[0] == results[3] == Result.COMPLETED
    for row, lone in enumerate(specs):
        assert train_runs(lone, [row]).bits(0) == heard.bits(row)


@pytest.mark.parametrize("base", [W1, DIGITS | {"regularizers": ["dropout"]}], ids=["sine", "dropout"])
def test_windows_and_blocks_change_nothing(
    train_runs: Any, monkeypatch: pytest.MonkeyPatch, base: dict[str, Any]
) -> None:
    usual = train_runs(spec(base), [0, 1])
    monkeypatch.setattr(batches, "BLOCK_BYTES", 1)
    monkeypatch.setattr(observer, "REPORT_SECONDS", 0)
    small = train_runs(spec(base), [0, 1])
    assert [small.bits(row) for row in (0, 1)] == [usual.bits(row) for row in (0, 1)]
