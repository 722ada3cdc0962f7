"""A run that goes on from where it was saved comes to the same bits as one that never stopped."""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from models.spec.component import choices
from models.spec.job import JobSpec
from models.spec.networks import Network
from models.spec.optimizers import Optimizer
from models.spec.regularizers import Regularizer
from models.spec.schedules import Schedule
from tests.worker.training.conftest import Heard
from worker.training import observer
from worker.training.boundary import Leave, Result, Saved, Saving
from worker.training.loop import train
from worker.training.randomness import Member
from worker.training.splits import Round

SINE: dict[str, Any] = {
    "dataset": {"kind": "sine", "samples": 120},
    "network": {"kind": "mlp", "hidden": [9, 5], "activation": "tanh"},
    "optimizer": {"kind": "adam", "learning_rate": 0.02},
    "batch_size": 13,
}
CANCER: dict[str, Any] = SINE | {"dataset": "breast_cancer", "batch_size": 37}
IMAGES: dict[str, Any] = SINE | {"dataset": "digits", "batch_size": 64}
SERIES: dict[str, Any] = SINE | {"dataset": "mnist1d", "batch_size": 64}

STEPS = 24
RECORD = {"every_steps": 1, "evaluate_every": 5, "snapshots": [7]}
AT = (1, 5, 7, 11, STEPS - 1)
"""In the first step, at an evaluation, at a snapshot, inside an epoch, one step before the end."""
EVERY_STEP = Saving(inf, every_steps=1)


def spec(base: dict[str, Any], steps: int = STEPS, **changes: Any) -> dict[str, Any]:
    return base | {"budget": {"steps": steps}, "record": RECORD} | changes


def heard_of(
    specs: Sequence[dict[str, Any]], members: Sequence[Member], rounds: Sequence[Round | None] | None = None, **how: Any
) -> Heard:
    heard = Heard()
    directives = how.pop("directives", dict)
    train([JobSpec.model_validate(one) for one in specs], members, heard, directives, rounds=rounds, **how)
    return heard


def through_a_file(saved: Saved) -> Saved:
    """As it comes back from storage: plain JSON, and arrays in C order."""
    tensors = {name: np.ascontiguousarray(tensor).copy() for name, tensor in saved.tensors.items()}
    return Saved(saved.step, tensors, json.loads(json.dumps(list(saved.facts))))


def rows_of(saved: Saved, rows: Sequence[int]) -> Saved:
    tensors = {name: tensor[list(rows)] for name, tensor in saved.tensors.items()}
    return Saved(saved.step, tensors, [saved.facts[row] for row in rows])


def saved_at(heard: Heard, step: int) -> tuple[list[int], Saved]:
    return next((rows, saved) for rows, saved in heard.saves if saved.step == step)


def bits_of(saved: Saved, row: int) -> Any:
    tensors = {name: tensor[row].tobytes() for name, tensor in saved.tensors.items() if name != "train_seconds"}
    return tensors, json.dumps(saved.facts[row])


def joined(before: Heard, row: int, step: int, after: Heard, row_after: int) -> Any:
    """What readers of the interrupted run have in the end: as `Heard.bits`."""
    result, steps, _, weights, predictions, description = after.bits(row_after)
    first, then = before.series[row], after.series[row_after]
    history = {
        name: [point for point in first.get(name, []) if point[0] <= step] + then.get(name, [])
        for name in (first.keys() | then.keys()) - {"train_seconds"}
    }
    return result, steps, history, weights, predictions, description


def assert_resumes(
    specs: Sequence[dict[str, Any]],
    members: Sequence[Member],
    at: Sequence[int] = AT,
    rounds: Sequence[Round | None] | None = None,
    **how: Any,
) -> None:
    """Train in peace; then go on from each of the steps, all runs together and the first alone."""
    undisturbed = heard_of(specs, members, rounds, **how)
    whole = heard_of(specs, members, rounds, saving=EVERY_STEP, **how)
    for row in range(len(specs)):
        assert whole.bits(row) == undisturbed.bits(row), "being saved changes nothing"
    for step in at:
        if step not in {saved.step for _, saved in whole.saves}:
            continue  # they have stopped early
        rows, saved = saved_at(whole, step)
        for chosen in [rows, rows[:1]] if len(rows) > 1 else [rows]:
            part = through_a_file(rows_of(saved, [rows.index(row) for row in chosen]))
            again = heard_of(
                [specs[row] for row in chosen],
                [members[row] for row in chosen],
                [rounds[row] for row in chosen] if rounds else None,
                saving=EVERY_STEP,
                resume=part,
                **how,
            )
            for place, row in enumerate(chosen):
                assert joined(whole, row, step, again, place) == undisturbed.bits(row), f"from step {step}, run {row}"
                _assert_saves_the_same(whole, row, again, place)


def _assert_saves_the_same(whole: Heard, row: int, again: Heard, place: int) -> None:
    """So that it can be interrupted again, and again."""
    later = {saved.step: bits_of(saved, rows.index(place)) for rows, saved in again.saves if place in rows}
    first = {saved.step: bits_of(saved, rows.index(row)) for rows, saved in whole.saves if row in rows}
    assert later == {step: bits for step, bits in first.items() if step in later}


def seeds(count: int) -> list[Member]:
    return [Member(seed) for seed in range(count)]


# ── every choice ─────────────────────────────────────────────────────────────────────────────────


OPTIMIZERS: list[dict[str, Any]] = [
    *({"kind": component.model_fields["kind"].default} for component in choices(Optimizer)),
    {"kind": "rmsprop", "centered": True, "momentum": 0.5},
    {"kind": "adam", "amsgrad": True},
    {"kind": "momentum", "dampening": 0.3},
    {"kind": "adagrad", "learning_rate_decay": 0.1, "initial_accumulator": 0.1},
    {"kind": "sam", "adaptive": True, "base": {"kind": "adamw"}},
    {"kind": "lbfgs", "history": 3, "iterations": 4},
    {"kind": "lbfgs", "line_search": False, "learning_rate": 0.1},
    *({"kind": "pytorch_optimizer", "name": name} for name in ("adopt", "prodigy", "adabelief", "lamb")),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda one: "-".join(map(str, one.values())))
def test_with_every_optimizer(optimizer: dict[str, Any]) -> None:
    full: dict[str, Any] = {"batch_size": "full"} if optimizer["kind"] in ("gradient_descent", "lbfgs") else {}
    runs = 1 if optimizer["kind"] in ("muon", "lbfgs", "pytorch_optimizer") else 3
    assert_resumes([spec(SINE, optimizer=optimizer, **full)] * runs, seeds(runs))


REGULARIZERS: list[dict[str, Any]] = [
    *(
        {"kind": kind}
        for component in choices(Regularizer)
        if (kind := component.model_fields["kind"].default) not in ("label_smoothing", "cutmix", "augmentation")
    ),
    {"kind": "l1", "proximal": True, "weight": 0.01},
    {"kind": "gradient_clipping", "by": "value", "maximum": 0.01},
]


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=lambda one: "-".join(map(str, one.values())))
def test_with_every_regularizer(regularizer: dict[str, Any]) -> None:
    optimizer = "momentum" if regularizer.get("proximal") else "adam"
    assert_resumes([spec(SINE, regularizers=[regularizer], optimizer=optimizer)] * 2, seeds(2))


@pytest.mark.parametrize("kind", ["label_smoothing", "cutmix", "augmentation"])
def test_with_the_regularizers_of_classes_and_series(kind: str) -> None:
    assert_resumes([spec(CANCER if kind == "label_smoothing" else SERIES, regularizers=[kind])] * 2, seeds(2))


def test_with_many_regularizers_together() -> None:
    together = ["dropout", "weight_noise", "input_noise", "mixup", "l2", "batch_norm", "label_noise", "max_norm"]
    assert_resumes([spec(CANCER, regularizers=together, class_weights="none")] * 3, seeds(3))


STOPPING: list[dict[str, Any]] = [
    {"criterion": "patience", "patience": 3},
    {"criterion": "generalization_loss", "threshold": 20.0},
    {"criterion": "progress_quotient", "strip": 2, "threshold": 1.5},
    {"criterion": "successive_increases", "strip": 2, "increases": 2},
]


@pytest.mark.parametrize("restores", [True, False])
@pytest.mark.parametrize("options", STOPPING, ids=lambda one: str(one["criterion"]))
def test_with_every_criterion_of_early_stopping(options: dict[str, Any], restores: bool) -> None:
    rule = {"kind": "early_stopping", "restore_best": restores} | options
    # A step so large that the validation loss goes up and down, so that runs stop here and there.
    wild = spec(SINE, 40, regularizers=[rule], optimizer={"kind": "momentum", "learning_rate": 0.2})
    wild["record"] = {"every_steps": 1, "evaluate_every": 2}
    assert_resumes([wild] * 4, seeds(4), at=(1, 2, 3, 7, 12, 20, 31))


@pytest.mark.parametrize("kind", [c.model_fields["kind"].default for c in choices(Schedule)])
def test_with_every_schedule(kind: str) -> None:
    options = {"steps": 10} if kind == "warmup" else {"every_steps": 6} if kind == "step" else {}
    assert_resumes([spec(SINE, schedule={"kind": kind} | options)] * 2, seeds(2))


NETWORKS = {"cnn": IMAGES, "cnn1d": SERIES, "gru": SERIES, "resnet": IMAGES, "linear": CANCER, "mlp": CANCER}


@pytest.mark.parametrize("kind", [c.model_fields["kind"].default for c in choices(Network)])
def test_with_every_network(kind: str) -> None:
    steps = {"steps": 6} if kind in ("cnn", "resnet", "cnn1d", "gru") else {"steps": STEPS}
    one = spec(NETWORKS[kind], network=kind, budget=steps, record={"every_steps": 1, "evaluate_every": 2})
    assert_resumes([one] * 2, seeds(2), at=(1, 3, 4))


EVALUATIONS: list[dict[str, Any]] = [{"kind": "k_fold", "folds": 3}, {"kind": "bootstrap"}, {"kind": "bagging"}]


@pytest.mark.parametrize("evaluation", EVALUATIONS, ids=lambda one: str(one["kind"]))
def test_with_every_evaluation_method(evaluation: dict[str, Any]) -> None:
    assert_resumes([spec(CANCER, evaluation=evaluation)] * 2, [Member(4, 0), Member(4, 1)])


def test_in_a_later_round_of_boosting() -> None:
    boosted = spec(SINE, evaluation={"kind": "boosting"})
    first = heard_of([boosted], [Member(3)]).endings[0].predictions
    assert first is not None
    follows = Round(first["rows"], residuals=(first["targets"] - first["outputs"][:, 0])[:, None])
    assert_resumes([boosted], [Member(3, 1)], rounds=[follows])


def test_with_weighted_classes_and_in_half_precision() -> None:
    assert_resumes([spec(CANCER, class_weights="balanced")] * 2, seeds(2))
    assert_resumes([spec(CANCER, precision="bfloat16")] * 2, seeds(2))


def test_with_different_settings_side_by_side() -> None:
    rates = [spec(SINE, optimizer={"kind": "adam", "learning_rate": rate}) for rate in (0.01, 0.1, 0.003)]
    assert_resumes(rates, seeds(3))


KINDS = ["momentum", "nesterov", "adadelta", "rmsprop", "adam", "nadam", "radam", "adamax", "sam"]


@examples(max_examples=12, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.lists(st.sampled_from(["dropout", "l2", "batch_norm", "weight_noise", "early_stopping"]), unique=True),
    st.integers(1, 4),
    st.lists(st.integers(1, STEPS - 1), min_size=1, max_size=2),
)
def test_whatever_is_chosen_wherever_it_stops(
    optimizer: str, regularizers: list[str], runs: int, at: list[int]
) -> None:
    assert_resumes([spec(SINE, optimizer=optimizer, regularizers=regularizers)] * runs, seeds(runs), at)


# ── in other company ─────────────────────────────────────────────────────────────────────────────


def test_runs_saved_in_two_cohorts_go_on_in_one() -> None:
    one = spec(SINE, regularizers=["batch_norm"])
    left, right = (heard_of([one] * 2, [Member(a), Member(b)], saving=EVERY_STEP) for a, b in ((0, 1), (2, 3)))
    first, second = saved_at(left, 9)[1], saved_at(right, 9)[1]
    tensors = {name: np.concatenate([second.tensors[name], first.tensors[name]]) for name in first.tensors}
    both = Saved(9, tensors, [*second.facts, *first.facts])
    again = heard_of([one] * 4, [Member(2), Member(3), Member(0), Member(1)], resume=both)
    for place, (before, row) in enumerate([(right, 0), (right, 1), (left, 0), (left, 1)]):
        assert joined(before, row, 9, again, place) == before.bits(row)


# ── when runs are saved ──────────────────────────────────────────────────────────────────────────


def test_nothing_is_saved_unless_it_is_asked_for() -> None:
    assert heard_of([spec(SINE)], [Member(0)]).saves == []


def test_a_cohort_is_saved_at_its_steps_and_one_step_before_its_end() -> None:
    heard = heard_of([spec(SINE)] * 2, seeds(2), saving=Saving(inf, every_steps=10))
    assert [(rows, saved.step) for rows, saved in heard.saves] == [([0, 1], 10), ([0, 1], 20), ([0, 1], STEPS - 1)]
    assert heard_of([spec(SINE, 1, record={})], [Member(0)], saving=EVERY_STEP).saves == []


def test_a_cohort_is_saved_in_time() -> None:
    heard = heard_of([spec(SINE, 3_000)], [Member(0)], saving=Saving(0.0))
    assert len(heard.saves) > 1
    for _, saved in heard.saves:
        assert 0 < saved.step < 3_000


@pytest.mark.parametrize("leave", [Leave.PAUSED, Leave.RELEASED])
def test_whoever_goes_on_elsewhere_is_saved_first_and_the_others_stay(
    leave: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Asked early and often, so that it comes in time however fast the machine is.
    monkeypatch.setattr(observer, "DIRECTIVES_SECONDS", 0.0)
    long = spec(SINE, 6_000, record={"every_steps": 1, "evaluate_every": 100})
    asked = iter([{}, {1: leave, 2: Leave.CANCELLED}])
    heard = heard_of([long] * 3, seeds(3), saving=Saving(inf), directives=lambda: next(asked, {}))
    (rows, saved), (rest, last) = heard.saves
    assert (rows, rest, last.step) == ([1], [0], 5_999)
    assert heard.endings[1].result is leave
    assert heard.endings[1].step == saved.step
    assert heard.steps(1, "train_loss") == list(range(1, saved.step + 1)), "all up to there was told"
    again = heard_of([long], [Member(1)], resume=through_a_file(saved))
    assert joined(heard, 1, saved.step, again, 0) == heard_of([long], [Member(1)]).bits(0)


def test_what_is_handed_over_is_a_copy() -> None:
    heard = heard_of([spec(SINE)] * 2, seeds(2), saving=EVERY_STEP)
    first, second = heard.saves[0][1], heard.saves[1][1]
    for name, tensor in first.tensors.items():
        assert not np.shares_memory(tensor, second.tensors[name])
    assert not np.array_equal(first.tensors["state.0"], second.tensors["state.0"])


# ── budgets ──────────────────────────────────────────────────────────────────────────────────────


def test_a_larger_budget_goes_on_as_if_it_had_been_the_first() -> None:
    short, long = (spec(SINE, steps, regularizers=["dropout"]) for steps in (STEPS, 2 * STEPS))
    ended = heard_of([short] * 2, seeds(2), saving=Saving(inf))
    rows, saved = ended.saves[-1]
    assert (rows, saved.step) == ([0, 1], STEPS - 1)
    again, fresh = heard_of([long] * 2, seeds(2), resume=saved), heard_of([long] * 2, seeds(2))
    for row in range(2):
        assert STEPS in ended.steps(row, "validation_loss")
        assert STEPS not in fresh.steps(row, "validation_loss"), "what was measured as the budget ended is taken back"
        assert joined(ended, row, STEPS - 1, again, row) == fresh.bits(row)


def test_seconds_are_counted_over_all_attempts() -> None:
    one = spec(SINE, 600, record={"every_steps": 1, "evaluate_every": 100})
    heard = heard_of([one] * 2, seeds(2), saving=Saving(inf, every_steps=300))
    _, saved = heard.saves[0]
    assert 0 < saved.tensors["train_seconds"][0] <= heard.endings[0].train_seconds
    older = replace(saved, tensors={**saved.tensors, "train_seconds": np.array([100.0, 0.0])})
    again = heard_of([one] * 2, seeds(2), resume=older)
    assert [100 < again.endings[0].train_seconds < 200, again.endings[1].train_seconds < 100] == [True, True]
    assert again.values(0, "train_seconds")[0] > 100


def test_a_run_that_exceeds_its_seconds_leaves_and_its_neighbour_goes_on() -> None:
    plain = spec(SINE, 3_000, record={"every_steps": 1, "evaluate_every": 100})
    hasty = plain | {"budget": {"steps": 3_000, "max_seconds": 1e-6}}
    heard = heard_of([hasty, plain], seeds(2), saving=Saving(inf))
    assert heard.endings[0].result is Result.EXCEEDED
    assert heard.endings[0].weights is None
    assert heard.endings[0].step < 3_000
    assert heard.bits(1) == heard_of([plain], [Member(1)]).bits(0)
