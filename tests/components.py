"""What a spec needs, besides the name of a component, so that this component can train."""

from typing import Any

LIST_FIELDS = {"regularizer": "regularizers", "analysis": "analyses"}
"""Families of which a spec may name several, and the field that holds them."""

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
