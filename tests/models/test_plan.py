from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from models.spec.job import JobSpec
from models.spec.plan import Plan, PlanError, plan, prediction_operations


def planned(**changes: Any) -> Plan:
    return plan(JobSpec.model_validate({"dataset": "sine", "optimizer": "adam"} | changes))


def sine(samples: int) -> dict[str, Any]:
    return {"dataset": {"kind": "sine", "samples": samples}}


def holdout(validation: float, test: float) -> dict[str, Any]:
    return {"evaluation": {"kind": "holdout", "validation": validation, "test": test}}


def test_the_smallest_spec_is_counted_by_hand() -> None:
    # 1,000 rows: 200 seal, 200 validate, 600 train; 9 whole batches of 64 an epoch, 50 epochs.
    # 1 → 64 → 64 → 1 with biases: 2 · 64 + 65 · 64 + 65 · 1 parameters, and Adam keeps 7 numbers for each.
    # 200 rows are evaluated at once, with 1 + 2 · (128 + 1) numbers each, there and back; the data is x, y of 800 rows.
    assert planned() == Plan(
        training_rows=600,
        validation_rows=200,
        test_rows=200,
        batch_rows=64,
        steps=450,
        steps_per_epoch=9,
        parameters=4_353,
        record_every=1,
        evaluate_every=9,
        memory_bytes=4 * (7 * 4_353 + 2 * 200 * 259 + 800 * 2),
    )


def test_the_work_of_a_prediction_is_counted_by_hand() -> None:
    # 1 → 64 → 64 → 1: so many multiply-adds, and 50 for the input and each of 2 · (64 + 64 + 1) activations.
    assert prediction_operations(JobSpec.model_validate({"dataset": "sine", "optimizer": "adam"})) == (
        64 + 64 * 64 + 64 + 50 * (1 + 258)
    )


def test_plain_gradient_descent_remembers_nothing() -> None:
    # The weights, now and before, their gradient, and two to reckon in; a batch is all 600 rows.
    full = planned(optimizer="gradient_descent")
    assert (full.batch_rows, full.steps_per_epoch, full.steps) == (600, 1, 50)
    assert full.memory_bytes == 4 * (5 * 4_353 + 2 * 600 * 259 + 800 * 2)
    assert planned(optimizer="momentum").memory_bytes == planned(optimizer="adam").memory_bytes - 4 * 4_353
    assert planned(optimizer="sgd").memory_bytes == planned(optimizer="adam").memory_bytes - 4 * 2 * 4_353


@pytest.mark.parametrize(
    ("optimizer", "more"),
    [
        ({"kind": "adamw", "amsgrad": True}, 1),
        ({"kind": "rmsprop", "centered": True}, 1),
        ({"kind": "sam", "base": "sgd"}, -1),
        ({"kind": "sam", "base": {"kind": "adam", "amsgrad": True}}, 2),
    ],
    ids=str,
)
def test_an_optimizer_that_remembers_more_takes_more_memory(optimizer: object, more: int) -> None:
    assert planned(optimizer=optimizer).memory_bytes == planned().memory_bytes + 4 * more * 4_353


@pytest.mark.parametrize(
    ("dataset", "network", "parameters"),
    [
        ("sine", "linear", 2),
        ("digits", "linear", 65 * 10),
        ("digits", {"kind": "mlp", "hidden": [32]}, 65 * 32 + 33 * 10),
        ("breast_cancer", {"kind": "mlp", "hidden": [16, 8]}, 31 * 16 + 17 * 8 + 9 * 2),
        ("diabetes", {"kind": "mlp", "hidden": [1]}, 11 + 2),
    ],
)
def test_parameters_are_weights_and_biases(dataset: str, network: object, parameters: int) -> None:
    assert planned(dataset=dataset, network=network).parameters == parameters


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        (sine(1_000) | holdout(0.1, 0.3), (600, 100, 300)),
        (sine(1_000) | holdout(0.1, 0), (900, 100, 0)),
        (sine(10) | holdout(0.01, 0.01), (8, 1, 1)),
        (sine(10) | holdout(0.4, 0.4), (2, 4, 4)),
        ({"dataset": "digits"}, (1_079, 359, 359)),
        ({"dataset": "breast_cancer"}, (341, 114, 114)),
        ({"dataset": "diabetes"}, (266, 88, 88)),
    ],
)
def test_every_row_is_in_one_split(changes: dict[str, Any], sizes: tuple[int, int, int]) -> None:
    found = planned(**changes, batch_size=2)
    assert (found.training_rows, found.validation_rows, found.test_rows) == sizes


@pytest.mark.parametrize(
    ("batch_size", "budget", "steps_per_epoch", "steps"),
    [
        (64, {"epochs": 3}, 9, 27),
        (64, {"steps": 100}, 9, 100),
        (600, {"epochs": 3}, 1, 3),
        (301, {"epochs": 3}, 1, 3),
        (300, {"epochs": 3}, 2, 6),
        (1, {"epochs": 1}, 600, 600),
        ("full", {"epochs": 7}, 1, 7),
    ],
)
def test_an_epoch_is_as_many_whole_batches_as_fit(
    batch_size: object, budget: dict[str, int], steps_per_epoch: int, steps: int
) -> None:
    found = planned(batch_size=batch_size, budget=budget)
    assert (found.steps_per_epoch, found.steps) == (steps_per_epoch, steps)


@pytest.mark.parametrize(
    ("batch_size", "budget", "evaluate_every"),
    [
        (64, {"epochs": 50}, 9),
        (64, {"epochs": 20}, 9),
        (64, {"steps": 1_800}, 9),
        (64, {"steps": 100}, 5),
        (64, {"epochs": 400}, 18),
        (1, {"steps": 200}, 10),
        ("full", {"steps": 10_000}, 50),
        ("full", {"steps": 1}, 1),
    ],
)
def test_a_run_is_evaluated_once_an_epoch_but_twenty_to_two_hundred_times(
    batch_size: object, budget: dict[str, int], evaluate_every: int
) -> None:
    assert planned(batch_size=batch_size, budget=budget).evaluate_every == evaluate_every


@examples(max_examples=100, deadline=None)
@given(steps=st.integers(1, 10_000_000), batch_size=st.integers(1, 600))
def test_watching_stays_cheap_however_long_a_run_is(steps: int, batch_size: int) -> None:
    found = planned(batch_size=batch_size, budget={"steps": steps})
    assert 1 <= steps // found.record_every <= 2_000
    assert 1 <= steps // found.evaluate_every <= 200
    assert found.evaluate_every <= max(ceil(steps / 20), found.steps_per_epoch)
    if steps <= 2_000:
        assert found.record_every == 1


@pytest.mark.parametrize(("steps", "every"), [(2_000, 1), (2_001, 2), (10_000, 5), (10_000_000, 5_000)])
def test_the_loss_is_recorded_at_most_two_thousand_times(steps: int, every: int) -> None:
    assert planned(budget={"steps": steps}).record_every == every


def test_what_a_spec_says_about_recording_is_done() -> None:
    found = planned(record={"every_steps": 7, "evaluate_every": 11})
    assert (found.record_every, found.evaluate_every) == (7, 11)


def wide(*hidden: int) -> dict[str, Any]:
    return {"network": {"kind": "mlp", "hidden": hidden}}


def long(samples: int) -> dict[str, Any]:
    return sine(samples) | {"batch_size": 1, "budget": {"epochs": 10_000}}


def recorded(steps: int, **record: int) -> dict[str, Any]:
    return {"budget": {"steps": steps}, "record": record}


@pytest.mark.parametrize(
    ("pointer", "fits", "too_much"),
    [
        ("/evaluation", sine(10) | holdout(0.4, 0.4) | {"batch_size": 2}, sine(10) | holdout(0.5, 0.4)),
        ("/batch_size", {"batch_size": 600}, {"batch_size": 601}),
        # 1,666 rows leave 1,000 to train on.
        ("/budget/epochs", long(1_666), long(1_667)),
        ("/record/snapshots/1", {"record": {"snapshots": [0, 450]}}, {"record": {"snapshots": [450, 451]}}),
        # 1 → a → b → 1 has (a + 2)(b + 2) − 3 parameters.
        ("/network", wide(7_998, 6_248), wide(7_998, 6_249)),
        # An evaluation writes ten points, at step 0 too.
        ("/record", recorded(997_999, every_steps=1), recorded(998_000, every_steps=1)),
        ("/record", recorded(99_799, evaluate_every=1), recorded(99_800, evaluate_every=1)),
    ],
)
def test_what_asks_for_too_much_is_refused_where_it_asks(
    pointer: str, fits: dict[str, Any], too_much: dict[str, Any]
) -> None:
    planned(**fits)
    with pytest.raises(PlanError) as caught:
        planned(**too_much)
    assert caught.value.pointer == pointer
