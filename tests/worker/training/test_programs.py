"""Compiled gradients, made once for the module in a folder of its own."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from models.spec.job import JobSpec
from worker.training import programs
from worker.training.boundary import Leave, Mode, Result

BASE: dict[str, Any] = {
    "dataset": "sine",
    "network": {"kind": "mlp", "hidden": [16, 8], "activation": "gelu"},
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "regularizers": ["dropout", "l2"],
    "budget": {"steps": 60},
    "record": {"every_steps": 1, "evaluate_every": 20},
}
COMPILED = BASE | {"execution": "compiled"}
CLASSES = COMPILED | {"dataset": "iris", "network": "linear", "batch_size": 16, "regularizers": ["label_smoothing"]}

compiler = pytest.mark.skipif(not programs.has_compiler(), reason="needs g++ or clang++")


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    patch = pytest.MonkeyPatch()
    cache = tmp_path_factory.mktemp("cache")
    patch.setenv("XDG_CACHE_HOME", str(cache))
    yield cache
    patch.undo()


@compiler
@pytest.mark.slow
@pytest.mark.parametrize("spec", [pytest.param(COMPILED, id="values"), pytest.param(CLASSES, id="classes")])
def test_compiled_training_equals_eager_training_to_round_off(train_runs: Any, spec: dict[str, Any]) -> None:
    compiled, eager = train_runs(spec, [3, 5]), train_runs(spec | {"execution": "eager"}, [3, 5])
    assert compiled.modes == [Mode(compiled=True)]
    assert eager.modes == [Mode(compiled=False)]
    for row in (0, 1):
        for metric in ("train_loss", "validation_loss", "gradient_norm"):
            found, wanted = compiled.values(row, metric), eager.values(row, metric)
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)
        for name, weights in eager.weights(row).items():
            np.testing.assert_allclose(compiled.weights(row)[name], weights, rtol=1e-3, atol=1e-4)


@compiler
@pytest.mark.slow
def test_compiled_runs_do_not_see_their_company(train_runs: Any) -> None:
    alone = {seed: train_runs(COMPILED, [seed]).bits(0) for seed in (0, 7, 20)}
    among = train_runs(COMPILED, range(21))
    assert {seed: among.bits(seed) for seed in alone} == alone


@compiler
@pytest.mark.slow
def test_compiled_runs_go_on_when_others_leave(train_runs: Any) -> None:
    whole = train_runs(COMPILED | {"budget": {"steps": 3_000}}, range(6))
    asked: list[int] = []

    def leave() -> dict[int, Leave]:
        asked.append(1)
        return {0: Leave.CANCELLED, 4: Leave.CANCELLED} if len(asked) > 1 else {}

    left = train_runs(COMPILED | {"budget": {"steps": 3_000}}, range(6), leave)
    for row in (1, 2, 3, 5):
        assert left.bits(row) == whole.bits(row)


@pytest.mark.parametrize(
    ("changes", "compiles"),
    [
        ({"budget": {"steps": programs.LONG_STEPS}}, True),
        ({"budget": {"steps": programs.LONG_STEPS - 1}}, False),
        ({"budget": {"steps": 10}, "execution": "compiled"}, True),
        ({"budget": {"steps": programs.LONG_STEPS}, "network": {"kind": "mlp", "hidden": [2048, 2048]}}, False),
        ({"budget": {"steps": programs.LONG_STEPS}, "execution": "eager"}, False),
        ({"budget": {"steps": programs.LONG_STEPS}, "regularizers": ["batch_norm"]}, False),
    ],
)
def test_the_spec_alone_decides_whether_its_runs_are_compiled(changes: dict[str, Any], compiles: bool) -> None:
    spec = JobSpec.model_validate(BASE | {"record": {}} | changes)
    assert programs.compiles(spec, "cpu") is compiles
    assert not programs.compiles(spec, "cuda")


@pytest.mark.parametrize("changes", [{"network": "gru", "dataset": "mnist1d"}, {"precision": "bfloat16"}])
def test_what_cannot_be_compiled_is_refused_where_it_is_asked_for(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match='take "eager" or "auto"'):
        JobSpec.model_validate(COMPILED | {"regularizers": []} | changes)


def test_without_a_compiler_a_run_trains_eagerly_and_says_why(
    train_runs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    heard = train_runs(COMPILED, [1])
    assert heard.modes == [Mode(compiled=False, reason="there is no C++ compiler")]
    assert heard.bits(0) == train_runs(BASE, [1]).bits(0)


@compiler
def test_a_compilation_that_fails_leaves_a_run_that_trains_eagerly(
    train_runs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    heard = train_runs(COMPILED, [1])
    (mode,) = heard.modes
    assert not mode.compiled
    assert mode.reason
    assert mode.reason.startswith("the compilation failed")
    assert heard.endings[0].result is Result.COMPLETED


def test_a_compiler_inherits_no_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("DESCENT_DATABASE_PASSWORD", "secret")
    seen = tmp_path / "environment"
    compiler = tmp_path / "compiler"
    compiler.write_text(f"#!/bin/sh\nexport -p > '{seen}'\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(compiler))
    with programs.Compilation(JobSpec.model_validate(COMPILED | {"seeds": 1}), threads=1) as compilation:
        assert compilation.wait(30)
    assert "XDG_CACHE_HOME" in seen.read_text()
    assert "DESCENT_" not in seen.read_text()


@compiler
def test_where_programs_have_no_place_a_run_trains_eagerly(
    train_runs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (mode,) = train_runs(COMPILED, [1]).modes
    assert not mode.compiled
    assert "Not a directory" in str(mode.reason)


@compiler
def test_a_compiler_that_takes_far_too_long_is_ended(
    train_runs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(programs, "MOST_SECONDS", 0.1)
    (mode,) = train_runs(COMPILED, [1]).modes
    assert mode == Mode(compiled=False, reason="the compilation failed: the compiler ended with -9")


@compiler
def test_a_run_may_leave_while_its_program_is_compiled(
    train_runs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[int] = []

    def leave() -> dict[int, Leave]:
        asked.append(1)
        return dict.fromkeys((0, 1), Leave.CANCELLED) if len(asked) > 1 else {}

    heard = train_runs(COMPILED, [1, 2], leave)
    assert {heard.endings[row].result for row in (0, 1)} == {Leave.CANCELLED}
    assert {heard.endings[row].step for row in (0, 1)} == {0}
    assert not list(tmp_path.rglob("*.pt2"))


def test_only_the_newest_programs_stay_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(programs, "MOST_FILES", 2)
    folder = tmp_path / "descent" / "programs"
    folder.mkdir(parents=True)
    for age, name in enumerate(("new", "old", "older")):
        file = folder / f"{name}.pt2"
        file.touch()
        os.utime(file, (1_000 - age, 1_000 - age))
    programs._forget_the_oldest()
    assert sorted(file.stem for file in folder.iterdir()) == ["new", "old"]
