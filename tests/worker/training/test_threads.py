"""Each in a process of its own: what a thread does with subnormal numbers is settled when it starts."""

import subprocess
import sys

import pytest

TRAINS = """
from models.spec.job import JobSpec
from tests.worker.training.conftest import Heard
from worker.training.loop import train
from worker.training.provenance import provenance
from worker.training.randomness import Member

spec = JobSpec.model_validate({"dataset": "sine", "optimizer": "adam", "budget": {"steps": 50}})
print(provenance("cpu", 1)["subnormals"])
train([spec], [Member(0)], Heard(), dict)
print("zero" if torch.tensor(1e-38) / 2 == 0 else "kept")
"""
USED = """
from worker.training.threads import use_threads
use_threads(2)
(torch.full((1 << 20,), 1.0, dtype=torch.float64) / 2).sum()
"""
BEFORE = "(torch.full((1 << 20,), 1.0) / 2).sum()"


@pytest.mark.parametrize(("before", "found"), [("", "zero"), (BEFORE, "kept")], ids=["fresh", "threads started before"])
def test_every_thread_takes_subnormal_numbers_for_zeros_or_none_and_others_see_nothing_of_it(
    before: str, found: str
) -> None:
    program = f"import torch\ntorch.set_num_threads(2)\n{before}\n{TRAINS}"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.split() == [found, "kept"]


def test_threads_that_are_started_by_an_analysis_take_subnormal_numbers_for_zeros_in_training() -> None:
    program = f"import torch\ntorch.set_num_threads(1)\n{USED}\n{TRAINS}"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.split() == ["zero", "kept"]
