"""Each regularizer against the same training written out in plain torch.nn, over 200 steps, and the laws that hold."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from models.spec.component import choices
from models.spec.job import JobSpec
from models.spec.plan import PlanError, plan
from models.spec.regularizers import Regularizer
from tests.worker.training.plain import Plain
from worker.training import cohort_data, networks
from worker.training.boundary import Result
from worker.training.randomness import Member
from worker.training.regularizers import relabel

STEPS = 200
SEED = 11
BASE: dict[str, Any] = {
    "dataset": {"kind": "sine", "samples": 200},
    "network": {"kind": "mlp", "hidden": [16, 8], "activation": "tanh"},
    "optimizer": {"kind": "momentum", "learning_rate": 0.02},
    "batch_size": 16,
    "budget": {"steps": STEPS},
    "record": {"every_steps": 1, "evaluate_every": 10},
}
CLASSES = BASE | {
    "dataset": "breast_cancer",
    "network": {"kind": "mlp", "hidden": [7], "activation": "tanh"},
    "optimizer": {"kind": "sgd", "learning_rate": 0.1},
}
FULL = CLASSES | {"batch_size": "full", "optimizer": {"kind": "nesterov", "learning_rate": 0.05}}

PENALTIES: list[list[Any]] = [
    [],
    [{"kind": "l1", "weight": 3e-3}],
    [{"kind": "l1", "weight": 3e-3, "proximal": True}],
    [{"kind": "l2", "weight": 1e-2}],
    [{"kind": "elastic_net", "weight": 1e-2, "l1_ratio": 0.3}],
]
OTHERS: list[list[Any]] = [
    [{"kind": "dropout", "probability": 0.2}],
    [{"kind": "weight_noise", "standard_deviation": 0.05}],
    [{"kind": "input_noise", "standard_deviation": 0.2}],
    [{"kind": "mixup", "alpha": 0.4}],
    [{"kind": "label_noise", "share": 0.3}],
    [{"kind": "gradient_clipping", "maximum": 0.2}],
    [{"kind": "gradient_clipping", "by": "value", "maximum": 0.05}],
    [{"kind": "max_norm", "maximum": 0.8}],
]
TOGETHER: list[list[Any]] = [
    [{"kind": "l1", "weight": 1e-3}, {"kind": "l2", "weight": 1e-3}, "elastic_net", "dropout"],
    ["input_noise", "mixup", {"kind": "dropout", "probability": 0.1}, {"kind": "label_noise", "share": 0.05}],
    [
        {"kind": "max_norm", "maximum": 0.9},
        {"kind": "gradient_clipping", "maximum": 0.5},
        {"kind": "l1", "weight": 2e-3, "proximal": True},
        {"kind": "l2", "weight": 1e-3},
        {"kind": "weight_noise", "standard_deviation": 0.02},
    ],
    ["batch_norm", "dropout", {"kind": "l2", "weight": 1e-2}, {"kind": "max_norm", "maximum": 0.9}],
]
SMOOTH: list[list[Any]] = [[{"kind": "label_smoothing", "smoothing": 0.3}], ["label_smoothing", "mixup", "label_noise"]]


def assert_equals_plain(train_runs: Any, spec: dict[str, Any]) -> None:
    heard = train_runs(spec, [SEED])
    plain = Plain(JobSpec.model_validate(spec), SEED)
    losses, validation = plain.losses(every=10)
    np.testing.assert_allclose(heard.values(0, "train_loss"), losses, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(heard.values(0, "validation_loss"), validation, rtol=2e-3, atol=1e-5)
    for name, weights in plain.named().items():
        np.testing.assert_allclose(heard.weights(0)[name], weights, rtol=5e-3, atol=5e-4)


@pytest.mark.parametrize("regularizers", PENALTIES + OTHERS + TOGETHER, ids=str)
def test_training_on_values_equals_plain_torch(train_runs: Any, regularizers: list[Any]) -> None:
    assert_equals_plain(train_runs, BASE | {"regularizers": regularizers})


@pytest.mark.parametrize("regularizers", OTHERS + SMOOTH, ids=str)
@pytest.mark.parametrize("base", [CLASSES, FULL], ids=["batches", "full"])
def test_training_on_classes_equals_plain_torch(train_runs: Any, base: dict[str, Any], regularizers: list[Any]) -> None:
    assert_equals_plain(train_runs, base | {"regularizers": regularizers})


MOVED: list[tuple[str, Any]] = [
    ("digits", {"flip": True}),
    ("digits", {"rotation": 30}),
    ("digits", {"zoom": 0.3, "translation": 0.2}),
    ("digits", {"flip": True, "rotation": 180, "zoom": 0.5, "translation": 0.5, "amplitude": 0.5}),
    ("mnist1d", {"flip": True, "zoom": 0.2, "translation": 0.1, "amplitude": 0.1}),
    ("breast_cancer", {"amplitude": 0.3}),
]


@pytest.mark.parametrize(("dataset", "options"), MOVED, ids=str)
def test_augmentation_trains_as_in_plain_torch(train_runs: Any, dataset: str, options: dict[str, Any]) -> None:
    budget = {"dataset": dataset, "batch_size": 20, "budget": {"steps": 40}}
    regularizers = ["input_noise", {"kind": "augmentation"} | options]
    assert_equals_plain(train_runs, CLASSES | budget | {"regularizers": regularizers})


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("dataset", ["digits", "mnist1d"])
def test_cutmix_trains_as_in_plain_torch(train_runs: Any, dataset: str, alpha: float) -> None:
    regularizers = [{"kind": "cutmix", "alpha": alpha}, "label_smoothing", {"kind": "augmentation", "translation": 0.1}]
    budget = {"dataset": dataset, "batch_size": 20, "budget": {"steps": 60}, "regularizers": regularizers}
    assert_equals_plain(train_runs, CLASSES | budget)


@pytest.mark.parametrize("base", [BASE, CLASSES, FULL], ids=["values", "classes", "full"])
def test_batch_normalization_trains_as_in_plain_torch(train_runs: Any, base: dict[str, Any]) -> None:
    # It magnifies round-off from step to step where the batches are small: fewer steps.
    norm = {"kind": "batch_norm", "momentum": 0.2, "epsilon": 1e-3}
    assert_equals_plain(train_runs, base | {"budget": {"steps": 50}, "regularizers": [norm]})


NETWORKS: list[dict[str, Any]] = [
    {"dataset": "digits", "network": {"kind": "cnn", "channels": [3, 4], "activation": "tanh"}},
    {"dataset": "mnist1d", "network": {"kind": "cnn1d", "channels": [4, 3], "kernels": [5, 3], "activation": "tanh"}},
    {"dataset": "mnist1d", "network": {"kind": "gru", "hidden": 3}},
    {"dataset": "digits", "network": {"kind": "resnet", "width": 2, "activation": "tanh"}},
]


@pytest.mark.parametrize(
    ("base", "more"),
    [*((base, []) for base in NETWORKS), *((base, ["batch_norm"]) for base in NETWORKS[:2])],
    ids=lambda part: part["network"]["kind"] if isinstance(part, dict) else str(part),
)
def test_other_networks_train_as_in_plain_torch_with_what_acts_on_their_weights(
    train_runs: Any, base: dict[str, Any], more: list[Any]
) -> None:
    acting: list[Any] = [
        {"kind": "dropout", "probability": 0.1},
        {"kind": "weight_noise", "standard_deviation": 0.01},
        {"kind": "l2", "weight": 1e-2},
        {"kind": "max_norm", "maximum": 0.9},
        *more,
    ]
    optimizer = {"kind": "momentum", "learning_rate": 0.02}
    budget = {"batch_size": 20, "budget": {"steps": 60}, "record": BASE["record"]}
    assert_equals_plain(train_runs, base | budget | {"optimizer": optimizer, "regularizers": acting})


EVERY_NETWORK: list[dict[str, Any]] = [
    {"dataset": "digits", "network": "linear"},
    {"dataset": "digits", "network": {"kind": "mlp", "hidden": [7, 5], "activation": "tanh"}},
    *NETWORKS,
]
MILD: dict[str, dict[str, Any]] = {
    "l1": {"weight": 1e-3},
    "l2": {"weight": 1e-2},
    "elastic_net": {"weight": 1e-2, "l1_ratio": 0.3},
    "dropout": {"probability": 0.1},
    "batch_norm": {"momentum": 0.2, "epsilon": 1e-2},
    "weight_noise": {"standard_deviation": 0.02},
    "input_noise": {"standard_deviation": 0.1},
    "mixup": {"alpha": 0.4},
    "cutmix": {"alpha": 1.0},
    "augmentation": {"translation": 0.1, "amplitude": 0.1},
    "label_smoothing": {"smoothing": 0.2},
    "label_noise": {"share": 0.2},
    "gradient_clipping": {"maximum": 0.3},
    "max_norm": {"maximum": 0.9},
    "early_stopping": {"patience": 1_000, "restore_best": False},
}
KINDS = [component.model_fields["kind"].default for component in choices(Regularizer)]
# The fast tier tries each regularizer with one network, and each network with some.
PAIRS = [
    pytest.param(base, kind, marks=() if (row + column) % len(EVERY_NETWORK) == 0 else pytest.mark.slow)
    for column, base in enumerate(EVERY_NETWORK)
    for row, kind in enumerate(KINDS)
]
REFUSED = {("linear", "dropout"), ("linear", "batch_norm"), ("gru", "batch_norm"), ("resnet", "batch_norm")}


@pytest.mark.parametrize(
    ("base", "kind"), PAIRS, ids=lambda value: value if isinstance(value, str) else str(value["network"])
)
def test_every_network_trains_as_in_plain_torch_under_every_regularizer(
    train_runs: Any, base: dict[str, Any], kind: str
) -> None:
    regularizers = [{"kind": kind} | MILD[kind]]
    optimizer = {"kind": "momentum", "learning_rate": 0.01}
    budget = {"batch_size": 20, "budget": {"steps": 200}, "record": BASE["record"]}
    spec = base | budget | {"optimizer": optimizer, "regularizers": regularizers}
    network = base["network"] if isinstance(base["network"], str) else base["network"]["kind"]
    if (network, kind) in REFUSED:
        with pytest.raises(PlanError, match=kind):
            plan(JobSpec.model_validate(spec))
    else:
        assert_equals_plain(train_runs, spec)


def stopping(**options: Any) -> dict[str, Any]:
    return BASE | {"regularizers": [{"kind": "early_stopping"} | options]}


def first_stop(validation: list[float], patience: int, min_delta: float) -> tuple[int | None, int]:
    """The evaluation at which Keras would stop, and the best one until then."""
    best, best_at, waited = math.inf, 0, 0
    for index, loss in enumerate(validation):
        if loss < best - min_delta:
            best, best_at, waited = loss, index, 0
        else:
            waited += 1
            if waited >= patience:
                return index, best_at
    return None, best_at


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("min_delta", [0.0, 0.02])
@pytest.mark.parametrize("restore_best", [True, False])
def test_early_stopping_stops_where_it_should_and_keeps_what_it_should(
    train_runs: Any, patience: int, min_delta: float, restore_best: bool
) -> None:
    free = train_runs(BASE, [SEED])
    validation = free.values(0, "validation_loss").astype(float).tolist()
    stop, best = first_stop(validation, patience, min_delta)
    heard = train_runs(stopping(patience=patience, min_delta=min_delta, restore_best=restore_best), [SEED])
    at_end = stop is None or stop == STEPS // 10
    assert heard.endings[0].result is (Result.COMPLETED if at_end else Result.STOPPED_EARLY)
    last = STEPS // 10 if stop is None else stop
    assert heard.endings[0].step == 10 * last
    assert heard.steps(0, "train_loss") == list(range(1, 10 * last + 1))
    kept = 10 * (best if restore_best else last)
    if kept:
        expected = train_runs(BASE | {"budget": {"steps": kept}}, [SEED]).weights(0)
    else:
        network = networks.build(JobSpec.model_validate(BASE))
        expected = network.named(torch.from_numpy(network.initial(SEED)))
    assert all(np.array_equal(tensor, expected[name]) for name, tensor in heard.weights(0).items())


def test_a_penalty_spares_the_biases(train_runs: Any) -> None:
    data = {"dataset": "digits", "network": "linear", "optimizer": "gradient_descent", "budget": {"steps": 1}}
    free = train_runs(data, [0]).weights(0)
    heavy = train_runs(data | {"regularizers": [{"kind": "l2", "weight": 5.0}]}, [0]).weights(0)
    assert np.array_equal(free["layers.0.bias"], heavy["layers.0.bias"])
    assert not np.array_equal(free["layers.0.weight"], heavy["layers.0.weight"])


DIABETES: dict[str, Any] = {
    "dataset": "diabetes",
    "network": "linear",
    "optimizer": {"kind": "gradient_descent", "learning_rate": 0.2},
    "budget": {"steps": 3_000},
}


def test_the_proximal_step_finds_the_lasso_with_its_exact_zeros(train_runs: Any) -> None:
    # scikit-learn halves the squared error, so its penalty is half of w.
    l1 = {"kind": "l1", "weight": 0.2, "proximal": True}
    found = train_runs(DIABETES | {"regularizers": [l1]}, [0]).weights(0)
    data = cohort_data.prepare([JobSpec.model_validate(DIABETES)], [Member(0)], "cpu").training
    lasso = Lasso(alpha=0.1, tol=1e-10).fit(data.inputs[0, :, :-1].double().numpy(), data.targets[0, :, 0].numpy())
    np.testing.assert_allclose(found["layers.0.weight"][0], lasso.coef_, atol=1e-5)
    assert np.array_equal(found["layers.0.weight"][0] == 0, lasso.coef_ == 0)
    assert 3 < np.count_nonzero(lasso.coef_ == 0) < 8
    by_gradient = train_runs(DIABETES | {"regularizers": [l1 | {"proximal": False}]}, [0]).weights(0)
    assert np.all(by_gradient["layers.0.weight"])


def test_the_proximal_step_goes_by_the_learning_rate_of_the_schedule(train_runs: Any) -> None:
    l1 = {"kind": "l1", "weight": 1e-2, "proximal": True}
    spec = BASE | {"regularizers": [l1], "schedule": {"kind": "step", "every_steps": 50, "gamma": 0.2}}
    heard = train_runs(spec, [SEED])
    plain = Plain(JobSpec.model_validate(spec), SEED)
    losses, _ = plain.losses(every=10, rates=[0.02 * 0.2 ** (step // 50) for step in range(STEPS)])
    np.testing.assert_allclose(heard.values(0, "train_loss"), losses, rtol=2e-3, atol=1e-5)
    found = heard.weights(0)["layers.0.weight"]
    np.testing.assert_allclose(found, plain.named()["layers.0.weight"], rtol=5e-3, atol=5e-4)


def test_the_proximal_step_leaves_biases_alone(train_runs: Any) -> None:
    one_step = CLASSES | {"budget": {"steps": 1}}
    free = train_runs(one_step, [0]).weights(0)
    heavy = train_runs(one_step | {"regularizers": [{"kind": "l1", "weight": 1e3, "proximal": True}]}, [0]).weights(0)
    for layer in ("layers.0", "layers.1"):
        assert np.array_equal(free[f"{layer}.bias"], heavy[f"{layer}.bias"])
        assert not heavy[f"{layer}.weight"].any()


@pytest.mark.parametrize("steps", [1, 2, 17, 200])
def test_no_unit_ever_has_more_than_its_max_norm(train_runs: Any, steps: int) -> None:
    bounds = [0.3, 0.5]
    given = CLASSES | {"budget": {"steps": steps}}
    specs = [given | {"regularizers": [{"kind": "max_norm", "maximum": bound}]} for bound in bounds]
    heard, free = train_runs(specs, [0, 1]), train_runs(given, [0, 1])
    for row, bound in enumerate(bounds):
        for layer in ("layers.0.weight", "layers.1.weight"):
            norms = np.linalg.norm(heard.weights(row)[layer].astype(np.float64), axis=1)
            assert norms.max() <= bound * (1 + 1e-6)
        assert np.linalg.norm(free.weights(row)[layer], axis=1).max() > bound


def test_a_clipped_gradient_is_no_longer_than_its_maximum_and_a_short_one_is_left_alone(train_runs: Any) -> None:
    given = CLASSES | {"record": {"every_steps": 1, "evaluate_every": 1}}

    def clipped(maximum: float) -> dict[str, Any]:
        return given | {"regularizers": [{"kind": "gradient_clipping", "maximum": maximum}]}

    heard = train_runs([clipped(0.25), clipped(1e3)], [SEED, SEED])
    norms = heard.values(0, "gradient_norm")
    assert norms.max() <= 0.25
    assert norms.min() < 0.2
    assert np.isclose(norms, 0.25, rtol=1e-4).sum() > 20
    free = train_runs(given, [SEED])
    assert heard.values(1, "train_loss").tobytes() == free.values(0, "train_loss").tobytes()


def test_early_stopping_restores_the_running_averages_of_the_best_evaluation(train_runs: Any) -> None:
    best = {"kind": "early_stopping", "patience": 1}
    given = CLASSES | {"optimizer": {"kind": "sgd", "learning_rate": 1.0}, "record": {"evaluate_every": 3}}
    heard = train_runs(given | {"regularizers": ["batch_norm", best]}, [SEED])
    assert heard.endings[0].result is Result.STOPPED_EARLY
    kept = heard.endings[0].step - 3
    expected = train_runs(given | {"regularizers": ["batch_norm"], "budget": {"steps": kept}}, [SEED]).weights(0)
    assert all(np.array_equal(tensor, expected[name]) for name, tensor in heard.weights(0).items())
    assert expected["norms.0.running_var"].std() > 0


def test_the_second_gradient_of_sharpness_aware_training_moves_no_running_average(train_runs: Any) -> None:
    # With a step of next to nothing the second pass sees other activations, the first does not.
    given = CLASSES | {"regularizers": ["batch_norm"], "budget": {"steps": 5}}
    still = {"learning_rate": 1e-12}
    plain = train_runs(given | {"optimizer": {"kind": "sgd"} | still}, [SEED]).weights(0)
    aware = train_runs(given | {"optimizer": {"kind": "sam", "rho": 5.0, "base": {"kind": "sgd"} | still}}, [SEED])
    for name in ("norms.0.running_mean", "norms.0.running_var"):
        np.testing.assert_allclose(aware.weights(0)[name], plain[name], rtol=1e-4, atol=1e-5)


def labels(dataset: str, shares: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """The training labels of the data, and those that runs of one seed see."""
    regularizers = [[{"kind": "label_noise", "share": share}] for share in shares]
    specs = [JobSpec.model_validate(BASE | {"dataset": dataset, "regularizers": part}) for part in regularizers]
    given = cohort_data.prepare(specs, [Member(4)] * len(specs), "cpu").training.targets
    seen = relabel(specs, [4] * len(specs), given)
    assert seen is not None
    return given, seen


@pytest.mark.parametrize("dataset", ["digits", "breast_cancer", "diabetes"])
def test_label_noise_makes_its_share_of_the_labels_wrong_and_more_of_it_adds_to_less(dataset: str) -> None:
    shares = [0.0, 0.1, 0.25, 1.0]
    given, seen = labels(dataset, shares)
    wrong = (given != seen).any(2).numpy()
    rows = wrong.shape[1]
    if dataset != "diabetes":
        assert wrong.sum(1).tolist() == [round(share * rows) for share in shares]
        assert set(seen.sum(2).flatten().tolist()) == {1.0}
        assert set(seen.flatten().tolist()) == {0.0, 1.0}
    else:  # two patients may have the same progression
        np.testing.assert_allclose(wrong.mean(1), shares, atol=0.02)
        assert set(seen.flatten().tolist()) <= set(given.flatten().tolist())
    for less, more in zip(range(3), range(1, 4), strict=True):
        assert torch.equal(seen[less][wrong[less]], seen[more][wrong[less]])


def test_every_wrong_class_is_as_likely_as_any_other() -> None:
    given, seen = labels("digits", [1.0])
    shift = (seen[0].argmax(1) - given[0].argmax(1)) % 10
    counts = torch.bincount(shift, minlength=10)
    assert counts[0] == 0
    assert counts[1:].min() > 80
    assert counts[1:].max() < 165


NOISY: list[Any] = [
    {"kind": "label_noise", "share": 0.4},
    {"kind": "label_smoothing", "smoothing": 0.3},
    {"kind": "mixup", "alpha": 1.0},
    {"kind": "input_noise", "standard_deviation": 1.0},
    {"kind": "weight_noise", "standard_deviation": 0.1},
    {"kind": "dropout", "probability": 0.3},
]


@pytest.mark.parametrize("batch_size", [16, "full"])
def test_evaluations_see_neither_noise_nor_smoothing_nor_mixing(train_runs: Any, batch_size: Any) -> None:
    given = CLASSES | {"batch_size": batch_size, "record": {"evaluate_every": 100}}
    heard = train_runs(given | {"regularizers": NOISY}, [SEED])
    free = train_runs(given, [SEED])
    plain = Plain(JobSpec.model_validate(given), SEED)
    plain.module.load(heard.weights(0))
    outputs, targets = plain.module(plain.training[0]).detach(), plain.training[1]
    right = (outputs.argmax(1) == targets.argmax(1)).double().mean().item()
    assert heard.values(0, "validation_loss")[-1] == pytest.approx(plain.validation_loss(), rel=1e-4)
    assert heard.values(0, "clean_train_accuracy")[-1] == pytest.approx(right, abs=1e-6)
    before = {metric: heard.series[0][metric][0] for metric in ("validation_loss", "clean_train_loss")}
    assert before == {metric: free.series[0][metric][0] for metric in before}


def test_contenders_with_one_seed_see_the_same_batches_whatever_their_noise(train_runs: Any) -> None:
    still = {"kind": "input_noise", "standard_deviation": 0.0}
    free = train_runs(BASE, [SEED])
    assert train_runs(BASE | {"regularizers": [still]}, [SEED]).bits(0) == free.bits(0)
