from collections.abc import Sequence
from typing import Any

import pytest

from api.comparison.diagnose import Verdict, diagnose, diagnose_job
from api.comparison.history import JobHistory
from tests.api.comparison.conftest import Fabricate

# Sine has 600 training rows and batches of 64: 9 steps an epoch, so that 9 steps between two evaluations are one.
FALLING = [1.0, 0.5, 0.3, 0.2, 0.15, 0.12, 0.11, 0.105, 0.102, 0.101, 0.1]
RISING = [1.0, 0.6, 0.45, 0.4, 0.42, 0.46, 0.5, 0.55, 0.6, 0.64, 0.68]
FLAT = [1.0, 0.97, 0.95, 0.95, 0.94, 0.94, 0.94, 0.94, 0.94, 0.94, 0.94]
LEAPING = [1.0, 0.4, 0.2, 0.15, 0.9, 0.3, 0.2, 0.8, 0.2, 0.7, 0.2]
STEEP = [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3]


def job(make_job: Fabricate, train: Sequence[float], validation: Sequence[float], **spec: Any) -> JobHistory:
    return make_job("job", {0: validation}, every=9, more={"clean_train_loss": train}, **spec)


@pytest.mark.parametrize(
    ("train", "validation", "verdict", "field"),
    [
        (FALLING, FALLING, Verdict.GOOD_FIT, None),
        (FALLING, RISING, Verdict.OVERFITTING, "/regularizers"),
        (FLAT, FLAT, Verdict.UNDERFITTING, "/network"),
        (STEEP, STEEP, Verdict.UNDERFITTING, "/budget"),
        (LEAPING, FALLING, Verdict.UNSTABLE, "/optimizer/learning_rate"),
        # A validation loss that rises together with the training loss is no overfitting.
        (RISING, RISING, Verdict.UNSTABLE, "/optimizer/learning_rate"),
        (FALLING[:4], RISING[:4], Verdict.TOO_EARLY, "/record/evaluate_every"),
    ],
)
def test_each_shape_of_curves_has_its_verdict(
    make_job: Fabricate, train: list[float], validation: list[float], verdict: Verdict, field: str | None
) -> None:
    history = job(make_job, train, validation)
    found = diagnose(history.runs[0], history.spec)
    assert (found.verdict, found.field) == (verdict, field)


def test_overfitting_is_dated_and_measured(make_job: Fabricate) -> None:
    history = job(make_job, FALLING, RISING)
    found = diagnose(history.runs[0], history.spec)
    assert found.since_epoch == 3
    assert found.numbers["validation_best"] == 0.4
    assert found.numbers["validation_end"] == 0.68
    assert found.numbers["validation_rise"] == pytest.approx(0.7)
    assert found.numbers["generalization_gap"] == pytest.approx(0.58)
    assert "risen by 70% since epoch 3" in found.advice
    assert "add early_stopping" in found.advice
    stopped = job(make_job, FALLING, RISING, regularizers=["early_stopping"])
    assert "add early_stopping" not in diagnose(stopped.runs[0], stopped.spec).advice


def test_a_rise_within_the_noise_of_the_validation_loss_is_none(make_job: Fabricate) -> None:
    noisy = [1.0, 0.5, 0.3, 0.2, 0.26, 0.2, 0.27, 0.21, 0.27, 0.2, 0.26]
    history = job(make_job, FALLING, noisy)
    found = diagnose(history.runs[0], history.spec)
    assert found.numbers["validation_rise"] > 0.05
    assert found.verdict is Verdict.GOOD_FIT


def test_a_run_that_diverged_says_so_whatever_its_losses_were(make_job: Fabricate) -> None:
    history = make_job(
        "job", {0: FALLING}, endings={0: ("failed", "diverged")}, optimizer={"kind": "sgd", "learning_rate": 2.0}
    )
    found = diagnose(history.runs[0], history.spec)
    assert found.verdict is Verdict.DIVERGED
    assert "from 2, say to 0.2" in found.advice


def test_losses_that_are_not_numbers_are_left_out(make_job: Fabricate) -> None:
    history = job(make_job, [*FALLING[:-1], float("nan")], FALLING)
    assert diagnose(history.runs[0], history.spec).verdict is Verdict.GOOD_FIT
    nothing = make_job("job", {0: []})
    assert diagnose(nothing.runs[0], nothing.spec).verdict is Verdict.TOO_EARLY


def test_a_job_is_what_most_of_its_runs_are(make_job: Fabricate) -> None:
    history = make_job(
        "job",
        {0: RISING, 1: RISING, 2: FALLING, 3: FALLING, 4: FALLING},
        every=9,
        more={"clean_train_loss": FALLING},
        endings={4: ("failed", "diverged")},
    )
    found = diagnose_job(history)
    # Two against two: the graver one.
    assert found.verdict is Verdict.OVERFITTING
    assert found.advice.startswith("2 of 5 runs: the validation loss has risen")
    assert [one.verdict.value for one in found.runs.values()] == [
        "overfitting",
        "overfitting",
        "good_fit",
        "good_fit",
        "diverged",
    ]
