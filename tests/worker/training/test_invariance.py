"""A run's bits do not depend on the company it keeps."""

from typing import Any, get_args

import pytest
import torch

from models.spec.component import choices, per_run_fields
from models.spec.networks import Activation
from models.spec.optimizers import ALONE, GradientDescent, Optimizer
from models.spec.regularizers import Regularizer
from models.spec.schedules import Schedule
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


STACKED = [component for component in choices(Optimizer) if component not in ALONE]


@pytest.mark.parametrize("kind", [c.model_fields["kind"].default for c in STACKED])
@pytest.mark.parametrize("base", [ODD, DIGITS], ids=["odd", "digits"])
def test_no_optimizer_sees_its_company(train_runs: Any, base: dict[str, Any], kind: str) -> None:
    changes = {"optimizer": kind} | ({"batch_size": "full"} if kind == "gradient_descent" else {})
    assert_company_is_invisible(train_runs, spec(base, steps=15, **changes), [[0, 1, 2, 3, 4], [4, 2]])


@pytest.mark.parametrize("base", [W1, DIGITS, ODD], ids=["sine", "digits", "odd"])
def test_no_run_sees_in_which_order_its_company_stands(train_runs: Any, base: dict[str, Any]) -> None:
    optimizers = [{"kind": "adam", "learning_rate": rate} for rate in (0.01, 0.01, 0.003, 0.02, 0.003)]
    specs = [spec(base, 15, optimizer=optimizer, regularizers=["l2"]) for optimizer in optimizers]
    heard = train_runs(specs, range(5))
    for order in ([4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        permuted = train_runs([specs[k] for k in order], order)
        assert [permuted.bits(place) for place in range(5)] == [heard.bits(k) for k in order]


DIFFERENT: dict[str, list[dict[str, Any]]] = {
    "learning_rate": [{"learning_rate": rate} for rate in (0.01, 0.003, 0.02)],
    "momentum": [{"momentum": m} for m in (0.9, 0.5, 0.0)],
    "betas": [{"betas": b} for b in ((0.9, 0.999), (0.5, 0.9), (0.0, 0.99))],
    "epsilon": [{"epsilon": e} for e in (1e-8, 1e-3, 1e-5)],
    "weight_decay": [{"weight_decay": w} for w in (0.0, 0.1, 0.01)],
    "rho": [{"rho": r} for r in (0.9, 0.1, 0.0)],
    "alpha": [{"alpha": a} for a in (0.99, 0.2, 0.5)],
    "learning_rate_decay": [{"learning_rate_decay": d} for d in (0.0, 0.1, 0.01)],
    "initial_accumulator": [{"initial_accumulator": a} for a in (0.0, 0.1, 1.0)],
    "dampening": [{"dampening": d} for d in (0.0, 0.3, 1.0)],
    "momentum_decay": [{"momentum_decay": d} for d in (4e-3, 0.0, 0.5)],
}


@pytest.mark.parametrize("component", STACKED, ids=lambda c: c.__name__)
def test_runs_with_different_hyperparameters_each_equal_their_lone_run(train_runs: Any, component: Any) -> None:
    base = spec(ODD, steps=12)
    if component is GradientDescent:
        base |= {"batch_size": "full"}
    kind = component.model_fields["kind"].default
    for name in per_run_fields(component):
        values = [v for v in DIFFERENT[name] if not (kind == "nesterov" and v.get("momentum") == 0.0)]
        assert_each_equals_its_lone_run(train_runs, [base | {"optimizer": {"kind": kind} | value} for value in values])


def assert_each_equals_its_lone_run(train_runs: Any, specs: list[dict[str, Any]]) -> None:
    """Train these together, then each alone."""
    heard = train_runs(specs, list(range(len(specs))))
    for row, lone in enumerate(specs):
        assert train_runs(lone, [row]).bits(0) == heard.bits(row), lone


FORMS: list[list[dict[str, Any]]] = [
    [{"kind": "rmsprop", "centered": True, "alpha": alpha, "momentum": alpha / 2} for alpha in (0.99, 0.5, 0.0)],
    [{"kind": "adam", "amsgrad": True, "learning_rate": rate} for rate in (0.1, 0.003, 0.02)],
    [{"kind": "adamw", "amsgrad": True, "weight_decay": decay} for decay in (0.1, 0.0, 0.02)],
    [{"kind": "sam", "adaptive": True, "rho": rho} for rho in (0.05, 0.5, 0.0)],
    [{"kind": "sam", "rho": rate * 3, "base": {"kind": "adam", "learning_rate": rate}} for rate in (0.1, 0.003, 0.02)],
]


@pytest.mark.parametrize("optimizers", FORMS, ids=lambda forms: str(forms[0]))
@pytest.mark.parametrize("base", [ODD, DIGITS], ids=["odd", "digits"])
def test_runs_of_another_form_of_a_rule_each_equal_their_lone_run(
    train_runs: Any, base: dict[str, Any], optimizers: list[dict[str, Any]]
) -> None:
    assert_each_equals_its_lone_run(train_runs, [spec(base, 12, optimizer=optimizer) for optimizer in optimizers])


def test_sharpness_aware_runs_see_no_company_under_dropout_noise_and_penalties(train_runs: Any) -> None:
    regularizers = ["dropout", "weight_noise", "l2", {"kind": "gradient_clipping", "maximum": 0.1}]
    base = spec(DIGITS, 15, optimizer="sam", regularizers=regularizers)
    assert_company_is_invisible(train_runs, base, [[0, 1, 2, 3, 4], [4, 2]])


SCHEDULES: dict[str, list[dict[str, Any]]] = {
    "constant": [{}, {}, {}],
    "warmup": [{"steps": 10}, {"steps": 3, "start_factor": 0.5}, {"steps": 50}],
    "step": [{"every_steps": 5}, {"every_steps": 2, "gamma": 0.9}, {"gamma": 0.5}],
    "exponential": [{"gamma": 0.5}, {"gamma": 1.0}, {}],
    "cosine": [{}, {"minimum_factor": 0.5}, {"minimum_factor": 1.0}],
    "one_cycle": [{}, {"warmup_fraction": 0.8, "initial_divisor": 3.0}, {"final_divisor": 10.0}],
}


@pytest.mark.parametrize("kind", [c.model_fields["kind"].default for c in choices(Schedule)])
@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_no_schedule_sees_its_company(train_runs: Any, optimizer: str, kind: str) -> None:
    def one(options: dict[str, Any], rate: float) -> dict[str, Any]:
        schedule, own = {"kind": kind} | options, {"kind": optimizer, "learning_rate": rate}
        return spec(ODD, 25, optimizer=own, schedule=schedule)

    for rates in ((0.01, 0.01, 0.01), (0.01, 0.003, 0.02)):
        assert_each_equals_its_lone_run(train_runs, [one(*each) for each in zip(SCHEDULES[kind], rates, strict=True)])


REGULARIZERS: dict[str, list[dict[str, Any]]] = {
    "l1": [{"weight": 1e-3}, {"weight": 0.0}, {"weight": 1e-2}],
    "l2": [{"weight": 1e-3}, {"weight": 0.0}, {"weight": 1e-2}],
    "elastic_net": [{"weight": 1e-3, "l1_ratio": 0.2}, {"l1_ratio": 0.0}, {"l1_ratio": 1.0}],
    "dropout": [{"probability": 0.5}, {"probability": 0.0}, {"probability": 0.2}],
    "early_stopping": [{"patience": 1, "min_delta": 0.5}, {"patience": 2}, {"patience": 10}],
    "weight_noise": [{"standard_deviation": 0.1}, {"standard_deviation": 0.0}, {"standard_deviation": 0.01}],
    "input_noise": [{"standard_deviation": 0.1}, {"standard_deviation": 0.0}, {"standard_deviation": 1.0}],
    "mixup": [{"alpha": 0.2}, {"alpha": 2.0}, {"alpha": 0.001}],
    "label_smoothing": [{"smoothing": 0.1}, {"smoothing": 0.0}, {"smoothing": 0.9}],
    "label_noise": [{"share": 0.1}, {"share": 0.0}, {"share": 1.0}],
    "gradient_clipping": [{"maximum": 0.1}, {"maximum": 1e6}, {"maximum": 0.01}],
    "batch_norm": [{"momentum": 0.1}, {"momentum": 1.0, "epsilon": 1e-2}, {"epsilon": 1e-8}],
    "augmentation": [{"amplitude": 0.5}, {"amplitude": 0.0}, {"amplitude": 1.0}],
    "cutmix": [{"alpha": 1.0}, {"alpha": 0.1}, {"alpha": 30.0}],
    "max_norm": [{"maximum": 0.5}, {"maximum": 1e6}, {"maximum": 0.1}],
}


@pytest.mark.parametrize("kind", [c.model_fields["kind"].default for c in choices(Regularizer)])
@pytest.mark.parametrize("base", [ODD, DIGITS], ids=["odd", "digits"])
def test_no_regularizer_sees_its_company(train_runs: Any, base: dict[str, Any], kind: str) -> None:
    if kind in ("label_smoothing", "cutmix") and base is ODD:
        base = ODD | {"dataset": "breast_cancer" if kind == "label_smoothing" else "mnist1d"}
    for company in (REGULARIZERS[kind], [REGULARIZERS[kind][0]] * 2):
        regularized = [spec(base, regularizers=[{"kind": kind} | options]) for options in company]
        assert_each_equals_its_lone_run(train_runs, regularized)


FORMS_OF_REGULARIZERS: list[list[dict[str, Any]]] = [
    [{"kind": "l1", "proximal": True, "weight": weight} for weight in (1e-2, 0.0, 0.1)],
    [{"kind": "gradient_clipping", "by": "value", "maximum": maximum} for maximum in (1e-2, 1.0, 1e-3)],
    [{"kind": "early_stopping", "criterion": "generalization_loss", "threshold": t} for t in (0.1, 5.0, 1e3)],
    [{"kind": "early_stopping", "criterion": "progress_quotient", "strip": 1, "threshold": t} for t in (0.1, 1, 1e3)],
    [{"kind": "early_stopping", "criterion": "successive_increases", "strip": 1, "increases": s} for s in (1, 2, 9)],
]


@pytest.mark.parametrize("forms", FORMS_OF_REGULARIZERS, ids=lambda forms: str(forms[0]))
@pytest.mark.parametrize("base", [ODD, DIGITS, DIGITS | {"batch_size": "full"}], ids=["odd", "digits", "full"])
def test_runs_with_another_form_of_a_regularizer_each_equal_their_lone_run(
    train_runs: Any, base: dict[str, Any], forms: list[dict[str, Any]]
) -> None:
    optimizers = [{"kind": "momentum", "learning_rate": rate} for rate in (0.01, 0.05, 0.2)]
    for rates in (optimizers, optimizers[:1] * 3):
        specs = [spec(base, regularizers=[form], optimizer=each) for form, each in zip(forms, rates, strict=True)]
        assert_each_equals_its_lone_run(train_runs, specs)


def everything(strength: float, patience: int) -> list[dict[str, Any]]:
    """Every regularizer for classes at once."""
    return [
        {"kind": "l1", "proximal": True, "weight": 1e-3 * strength},
        {"kind": "l2", "weight": 1e-3 * strength},
        {"kind": "elastic_net", "weight": 1e-4 * strength},
        {"kind": "dropout", "probability": 0.1 * strength},
        {"kind": "batch_norm", "momentum": 0.1 * strength},
        {"kind": "weight_noise", "standard_deviation": 0.01 * strength},
        {"kind": "input_noise", "standard_deviation": 0.1 * strength},
        {"kind": "mixup", "alpha": 0.2 * strength},
        {"kind": "label_smoothing", "smoothing": 0.1 * strength},
        {"kind": "label_noise", "share": 0.1 * strength},
        {"kind": "gradient_clipping", "maximum": 0.5 * strength},
        {"kind": "max_norm", "maximum": 0.7 * strength},
        {"kind": "early_stopping", "patience": patience, "min_delta": 0.05},
    ]


EVERYTHING = ODD | {"dataset": "breast_cancer", "optimizer": {"kind": "momentum", "learning_rate": 0.05}}


@pytest.mark.parametrize("batch_size", [13, "full"])
def test_neighbours_that_leave_change_nothing_whatever_regularizes(train_runs: Any, batch_size: int | str) -> None:
    base = EVERYTHING | {"batch_size": batch_size}
    given = [(1.0, 100), (2.0, 1), (0.5, 100), (3.0, 2), (1.5, 100)]
    specs = [spec(base, 60, regularizers=everything(*each), schedule="cosine") for each in given]
    heard = train_runs(specs, range(5))
    results = [heard.endings[row].result for row in range(5)]
    assert results[0] == results[2] == results[4] == Result.COMPLETED
    assert Result.STOPPED_EARLY in (results[1], results[3])
    for row, lone in enumerate(specs):
        assert train_runs(lone, [row]).bits(0) == heard.bits(row)


NETWORKS: list[dict[str, Any]] = [
    {"dataset": "digits", "network": {"kind": "cnn", "channels": [5, 9]}},
    {"dataset": "digits", "network": {"kind": "cnn", "channels": [3], "kernels": [5], "pool": 3, "activation": "gelu"}},
    {"dataset": "mnist1d", "network": "cnn1d"},
    {"dataset": "mnist1d", "network": {"kind": "cnn1d", "channels": [1, 7], "kernels": [4], "activation": "silu"}},
    {"dataset": "mnist1d", "network": "gru"},
    {"dataset": "mnist1d", "network": {"kind": "gru", "hidden": 1, "bidirectional": False}},
    {"dataset": "digits", "network": {"kind": "resnet", "width": 3}},
    {"dataset": "mnist1d", "network": {"kind": "resnet", "width": 1, "activation": "sigmoid"}},
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("base", NETWORKS, ids=lambda base: str(base["network"]))
def test_no_network_sees_its_company(train_runs: Any, base: dict[str, Any], threads: int) -> None:
    kind = base["network"] if isinstance(base["network"], str) else base["network"]["kind"]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for acting in ([], ["dropout", "batch_norm"] if kind.startswith("cnn") else ["dropout", "max_norm"]):
            given = spec(base, 12, optimizer="adam", batch_size=13, regularizers=acting)
            assert_company_is_invisible(train_runs, given, [[0, 1, 2, 3, 4], [4, 2]])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("base", [NETWORKS[0], NETWORKS[2], NETWORKS[6]], ids=lambda base: str(base["network"]))
def test_batch_normalized_runs_see_no_neighbours_that_leave(train_runs: Any, base: dict[str, Any]) -> None:
    own = [] if "resnet" in str(base) else ["batch_norm"]
    specs = [
        spec(base, 40, optimizer="adam", regularizers=[*own, {"kind": "early_stopping", "patience": p, "min_delta": d}])
        for p, d in ((100, 0.0), (1, 10.0), (100, 0.1), (2, 1.0))
    ]
    heard = train_runs(specs, range(4))
    assert [heard.endings[row].result is Result.STOPPED_EARLY for row in range(4)] == [False, True, False, True]
    for row, lone in enumerate(specs):
        assert train_runs(lone, [row]).bits(0) == heard.bits(row)


MOVING = {"flip": True, "rotation": 20, "zoom": 0.1, "translation": 0.3}


@pytest.mark.parametrize("batch_size", [13, "full"])
@pytest.mark.parametrize("dataset", ["digits", "mnist1d"])
def test_moving_and_cutting_sees_no_company_and_no_blocks(
    train_runs: Any, monkeypatch: pytest.MonkeyPatch, dataset: str, batch_size: int | str
) -> None:
    moving = MOVING | ({"rotation": 0} if dataset == "mnist1d" else {})
    specs = [
        spec(ODD, 4, dataset=dataset, batch_size=batch_size, regularizers=["cutmix", {"kind": "augmentation"} | own])
        for own in (moving | {"amplitude": a} for a in (0.5, 0.0, 1.0))
    ]
    heard = train_runs(specs, range(3))
    assert_each_equals_its_lone_run(train_runs, specs)
    monkeypatch.setattr(batches, "BLOCK_BYTES", 1)
    small = train_runs(specs, range(3))
    assert [small.bits(row) for row in range(3)] == [heard.bits(row) for row in range(3)]


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


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
@pytest.mark.parametrize("wrap", [lambda base: base, lambda base: {"kind": "sam", "base": base}], ids=["sgd", "sam"])
def test_neighbours_that_diverge_or_stop_early_change_nothing(train_runs: Any, wrap: Any, schedule: str) -> None:
    def one(rate: float, patience: int) -> dict[str, Any]:
        optimizer = wrap({"kind": "sgd", "learning_rate": rate})
        stopping = {"kind": "early_stopping", "patience": patience}
        return spec(ODD, 60, optimizer=optimizer, regularizers=[stopping], schedule=schedule)

    specs = [one(0.01, 100), one(1e4, 100), one(1e-6, 1), one(0.02, 100), one(1e5, 100)]
    heard = train_runs(specs, range(5))
    results = [heard.endings[row].result for row in range(5)]
    assert results[1] == results[4] == Result.DIVERGED
    assert results[0] == results[3] == Result.COMPLETED
    for row, lone in enumerate(specs):
        assert train_runs(lone, [row]).bits(0) == heard.bits(row)


@pytest.mark.parametrize(
    "base",
    [W1, DIGITS | {"regularizers": ["dropout"]}, EVERYTHING | {"regularizers": everything(1.0, 100)}],
    ids=["sine", "dropout", "everything"],
)
def test_windows_and_blocks_change_nothing(
    train_runs: Any, monkeypatch: pytest.MonkeyPatch, base: dict[str, Any]
) -> None:
    usual = train_runs(spec(base), [0, 1])
    monkeypatch.setattr(batches, "BLOCK_BYTES", 1)
    monkeypatch.setattr(observer, "REPORT_SECONDS", 0)
    small = train_runs(spec(base), [0, 1])
    assert [small.bits(row) for row in (0, 1)] == [usual.bits(row) for row in (0, 1)]
