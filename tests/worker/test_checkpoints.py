"""Checkpoints come back as they were written, or not at all."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoints import CheckpointFile, Place
from models.storage import Storage
from worker.checkpoints import DamagedCheckpoint, read, write
from worker.training.boundary import Saved

SAVED = Saved(
    700,
    {
        "theta": np.arange(6, dtype=np.float32).reshape(2, 3),
        "rule.1": np.array([[math.pi, math.nan], [math.inf, -0.0]]),
        "stopping.waited": np.array([3, 4]),
        "stopping.flags": np.array([[True], [False]]),
    },
    [{"lbfgs": {"t": 0.1}}, {}],
)
SUMMARIES: list[dict[str, Any]] = [{"train_loss": [0.5, math.nan, None]}, {"train_loss": [0.25, 0.125, 600]}]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def place(file: CheckpointFile, row: int, checkpoint_id: str = "checkpoint_1") -> Place:
    return Place(checkpoint_id, file, row)


def bits(saved: Saved) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (str(tensor.dtype), tensor.shape, tensor.tobytes()) for name, tensor in saved.tensors.items()}


def test_what_was_saved_comes_back_to_the_bit(storage: Storage) -> None:
    file = write(storage, "cohort_1", SAVED, SUMMARIES)
    found = read(storage, [place(file, 0), place(file, 1)])
    assert bits(found.saved) == bits(SAVED)
    assert (found.saved.step, list(found.saved.facts)) == (700, SAVED.facts)
    assert json.dumps(found.summaries) == json.dumps(SUMMARIES)


def test_runs_take_their_own_rows_in_their_own_order_from_several_files(storage: Storage) -> None:
    first = write(storage, "cohort_1", SAVED, SUMMARIES)
    other = {name: tensor[:1] for name, tensor in SAVED.tensors.items()}
    second = write(storage, "cohort_2", Saved(700, other, [{"lone": 1}]), [{}])
    found = read(storage, [place(first, 1), place(second, 0, "checkpoint_2"), place(first, 0)])
    assert found.saved.tensors["theta"].tolist() == [[3, 4, 5], [0, 1, 2], [0, 1, 2]]
    assert list(found.saved.facts) == [{}, {"lone": 1}, {"lbfgs": {"t": 0.1}}]
    assert [len(summary) for summary in found.summaries] == [1, 0, 1]


def test_every_changed_byte_is_noticed(storage: Storage, tmp_path: Path) -> None:
    file = write(storage, "cohort_1", SAVED, SUMMARIES)
    path = tmp_path / file.storage_key
    content = path.read_bytes()
    for position in range(0, len(content), 37):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(DamagedCheckpoint, match="is not what was written"):
            read(storage, [place(file, 0)])
    path.write_bytes(content[:-1])
    with pytest.raises(DamagedCheckpoint, match="is not what was written"):
        read(storage, [place(file, 0)])
    path.write_bytes(content)
    assert read(storage, [place(file, 0)]).saved.step == 700


def test_a_file_that_is_gone_names_its_checkpoint(storage: Storage, tmp_path: Path) -> None:
    file = write(storage, "cohort_1", SAVED, SUMMARIES)
    (tmp_path / file.storage_key).unlink()
    with pytest.raises(DamagedCheckpoint, match="is gone from storage") as caught:
        read(storage, [place(file, 0, "checkpoint_9")])
    assert caught.value.checkpoint_id == "checkpoint_9"
