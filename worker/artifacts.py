"""Files that a run leaves: put in storage before the rows that name them are written, and read back."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from models.storage import Storage
from models.tables import Artifact, new_id, now


class Tensors(NamedTuple):
    """What a safetensors file holds."""

    tensors: dict[str, NDArray[Any]]
    header: dict[str, str]


def store(
    storage: Storage,
    run_id: str,
    attempt: int,
    name: str,
    tensors: Mapping[str, NDArray[Any]],
    header: dict[str, str] | None = None,
) -> Artifact:
    """Write the file; the row that names it is yet to be added."""
    content = save({key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}, header)
    key = f"runs/{run_id}/{attempt}/{name}"
    storage.write(key, content)
    return Artifact(
        id=new_id("artifact"),
        run_id=run_id,
        name=name,
        media_type="application/octet-stream",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        storage_key=key,
        created_at=now(),
    )


def read(storage: Storage, key: str) -> Tensors:
    """Read a file back.

    Raises:
        FileNotFoundError: if it is gone.
        safetensors.SafetensorError: if it is damaged.

    """
    with storage.open(key) as file:
        content = file.read()
    tensors = load(content)
    length = int.from_bytes(content[:8], "little")
    return Tensors(tensors, json.loads(content[8 : 8 + length]).get("__metadata__", {}))
