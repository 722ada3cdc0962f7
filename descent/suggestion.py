"""The first spec to try on a data set that was just uploaded."""

from typing import Any

from models.answers import Dataset
from models.reading import likely_target

_FEW_ROWS = 200
"""Of so few, an ordinary batch may be more than there are to train on."""


def spec_for(dataset: Dataset) -> dict[str, Any]:
    """A spec that names what is predicted, so that whoever copies it sees where to put another column."""
    if dataset.known:
        return {"dataset": dataset.known, "optimizer": "adam"}
    asked: dict[str, Any] = {"kind": "uploaded", "id": dataset.name}
    if dataset.layout == "table":
        target = dataset.columns[likely_target(dataset.columns)]
        asked["target"] = target.name
        if target.missing:
            asked["missing"] = "drop"
        elif any(column.missing for column in dataset.columns if column.type != "text"):
            asked["missing"] = "impute"
    few: dict[str, Any] = {"batch_size": "full"} if dataset.rows < _FEW_ROWS else {}
    return {"dataset": asked, "optimizer": "adam"} | few
