"""Checkpoint files: safetensors, a row a run, with what is no tensor as JSON in the header. Never a pickle."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from models.checkpoints import CheckpointFile, Place
from models.storage import Storage
from worker.training.boundary import Saved

Facts = Mapping[str, Any]


class Restored(NamedTuple):
    """What some runs go on from."""

    saved: Saved
    summaries: Sequence[Facts]
    """Of each run, what its history comes to so far: see `worker.run_record.Best`."""


class DamagedCheckpoint(Exception):
    """The file is gone, or is not what was written."""

    def __init__(self, checkpoint_id: str, what: str) -> None:
        super().__init__(what)
        self.checkpoint_id = checkpoint_id


def write(storage: Storage, cohort_id: str, saved: Saved, summaries: Sequence[Facts]) -> CheckpointFile:
    """Put a whole file in storage. The key is the cohort's own, so that no other attempt can write under it.

    Raises:
        OSError: if storage does not take it; there is no file then.

    """
    told = {"step": str(saved.step), "facts": json.dumps(list(saved.facts)), "summaries": json.dumps(list(summaries))}
    content = save({name: np.ascontiguousarray(tensor) for name, tensor in saved.tensors.items()}, told)
    key = f"checkpoints/{cohort_id}/{saved.step}.safetensors"
    storage.write(key, content)
    return CheckpointFile(key, len(content), hashlib.sha256(content).hexdigest())


def read(storage: Storage, places: Sequence[Place]) -> Restored:
    """What the runs that stand at these places go on from, in the same order.

    Raises:
        DamagedCheckpoint: if a file is not, byte for byte, what was written.
        OSError: if storage does not answer.

    """
    files = {place.checkpoint_id: place for place in places}
    opened = {checkpoint_id: _verified(storage, place) for checkpoint_id, place in files.items()}
    parts = [(opened[place.checkpoint_id], place.row) for place in places]
    head = parts[0][0].saved
    tensors = {name: np.stack([part.saved.tensors[name][row] for part, row in parts]) for name in head.tensors}
    facts = [part.saved.facts[row] for part, row in parts]
    return Restored(Saved(head.step, tensors, facts), [part.summaries[row] for part, row in parts])


def _verified(storage: Storage, place: Place) -> Restored:
    try:
        with storage.open(place.file.storage_key) as file:
            content = file.read()
    except FileNotFoundError:
        raise DamagedCheckpoint(place.checkpoint_id, f"{place.file.storage_key} is gone from storage") from None
    if hashlib.sha256(content).hexdigest() != place.file.sha256:
        raise DamagedCheckpoint(place.checkpoint_id, f"{place.file.storage_key} is not what was written")
    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        told = json.loads(content[8 : 8 + length])["__metadata__"]
        return Restored(Saved(int(told["step"]), tensors, json.loads(told["facts"])), json.loads(told["summaries"]))
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedCheckpoint(place.checkpoint_id, f"{place.file.storage_key} cannot be read: {error}") from None
