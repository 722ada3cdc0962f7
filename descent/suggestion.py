"""The first spec to try on a data set that was just uploaded."""

from typing import Any

from models.answers import Dataset
from models.stored import Column

_USUAL_TARGETS = ("target", "label", "class", "y")
_FEW_ROWS = 200
"""Of so few, an ordinary batch may be more than there are to train on."""


def spec_for(dataset: Dataset) -> dict[str, Any]:
    """A spec that names what is predicted, so that whoever copies it sees where to put another column."""
    if dataset.known:
        return {"dataset": dataset.known, "optimizer": "adam"}
    asked: dict[str, Any] = {"kind": "uploaded", "id": dataset.name}
    target = _target(dataset)
    if dataset.layout == "table" and target is not None:
        asked["target"] = target.name
        if target.missing:
            asked["missing"] = "drop"
        elif any(column.missing for column in dataset.columns if column.type != "text"):
            asked["missing"] = "impute"
    few: dict[str, Any] = {"batch_size": "full"} if dataset.rows < _FEW_ROWS else {}
    return {"dataset": asked, "optimizer": "adam"} | few


def _target(dataset: Dataset) -> Column | None:
    """The column that the service would take, unless nothing can be learned to predict it."""
    usable = [column for column in dataset.columns if column.type != "text"]
    usual = [column for wanted in _USUAL_TARGETS for column in usable if column.name.lower() == wanted]
    return next(iter([*usual, *reversed(usable)]), None)
