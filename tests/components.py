"""The fields of a spec that components require in order to train."""

from typing import Any

LIST_FIELDS = {"regularizer": "regularizers", "analysis": "analyses"}
"""Families that a spec gives as a list, with the field of the list."""

REQUIREMENTS: dict[str, dict[str, Any]] = {
    "cnn": {"dataset": "digits"},
    "cnn1d": {"dataset": "mnist1d"},
    "gru": {"dataset": "mnist1d"},
    "resnet": {"dataset": "digits"},
    "cutmix": {"dataset": "digits"},
    "bootstrap": {"evaluation": {"kind": "bootstrap", "replicates": 3}},
    "bagging": {"evaluation": {"kind": "bagging", "ensemble": 3}},
    "boosting": {"evaluation": {"kind": "boosting", "rounds": 3}},
}
"""By kind: the fields without which a spec on a small table would be invalid, or would train many runs."""
