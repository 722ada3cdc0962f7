"""Mutants of a small repository are found by its fast tier, by its slow tier, or survive."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from tools import mutants
from tools.mutants import CONFTEST, Checkout, main

FILES = {
    "pyproject.toml": '[tool.pytest.ini_options]\nmarkers = ["slow", "chaos"]\n',
    "api/cleaning.py": """
        def clear(values):
            values.clear()


        def sort(values):
            values.sort()


        def reverse(values):
            values.reverse()
    """,
    "descent/generated.py": "# Made from another module\nLIMIT = 1\n",
    "tests/test_cleaning.py": """
        import pytest

        from api.cleaning import clear, sort


        def test_nothing_is_left():
            values = [2, 1]
            clear(values)
            assert values == []


        @pytest.mark.slow
        def test_values_are_in_order():
            values = [2, 1]
            sort(values)
            assert values == [1, 2]


        def test_that_fails_in_every_copy():
            assert False
    """,
}


@pytest.fixture(autouse=True)
def _without_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the plugins of pytest, so that it starts faster."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(mutants, "PARALLEL", [])


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text), encoding="utf-8")


def test_each_mutant_is_reported_with_the_tier_that_catches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, FILES)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["mutants", "--json", "--limit", "60"])
    main()
    report = json.loads(capsys.readouterr().out)
    results = {result["before"]: (result["verdict"], result["test"]) for result in report["results"]}
    assert results == {
        "values.clear()": ("fast", "tests/test_cleaning.py::test_nothing_is_left"),
        "values.sort()": ("slow", "tests/test_cleaning.py::test_values_are_in_order"),
        "values.reverse()": ("survived", None),
    }
    assert report["unreliable_tests"] == ["tests/test_cleaning.py::test_that_fails_in_every_copy"]
    assert report["summary"].startswith("The fast tier caught 1 of the 2 mutants that any tier caught. 1 survived")


def test_a_configuration_that_cannot_be_loaded_counts_as_a_failure(tmp_path: Path) -> None:
    write(tmp_path, FILES | {"tests/conftest.py": "import missing"})
    assert Checkout(tmp_path).run("fast", ["tests/test_cleaning.py"], [], limit=60) == {CONFTEST}


def test_processes_that_a_test_leaves_are_ended(tmp_path: Path) -> None:
    leaving = f"""
        import subprocess
        from pathlib import Path

        def test_leaves_a_process():
            command = [{sys.executable!r}, "-c", "import time; time.sleep(600)"]
            process = subprocess.Popen(command, start_new_session=True)
            Path("process").write_text(str(process.pid))
    """
    write(tmp_path, FILES | {"tests/test_leaving.py": leaving})
    assert Checkout(tmp_path).run("fast", ["tests/test_leaving.py"], [], limit=60) == set()
    _, alive = psutil.wait_procs(running(int((tmp_path / "process").read_text())), timeout=10)
    assert alive == []


def running(process_id: int) -> list[psutil.Process]:
    return [psutil.Process(process_id)] if psutil.pid_exists(process_id) else []


def test_a_run_ends_at_the_time_limit(tmp_path: Path) -> None:
    write(tmp_path, FILES | {"tests/test_waiting.py": "def test_waits():\n    import time; time.sleep(600)\n"})
    with pytest.raises(subprocess.TimeoutExpired):
        Checkout(tmp_path).run("fast", ["tests/test_waiting.py"], [], limit=0.5)
    environments = [process.info["environ"] or {} for process in psutil.process_iter(["environ"])]
    assert str(tmp_path) not in [environment.get(mutants.ENVIRONMENT_MARK) for environment in environments]
