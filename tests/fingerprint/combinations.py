"""Cases that no single component decides: fields of a spec, combinations of components, cohorts of different runs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.spec.component import choices
from models.spec.evaluation import Evaluation
from models.spec.regularizers import Regularizer
from tests.components import REQUIREMENTS
from tests.fingerprint.case import Case, Fields, make_case
from tests.fingerprint.uploads import IMAGES, TABLE, Uploads
from tests.fingerprint.variants import is_valid

SINGLE: Mapping[str, Fields] = {
    "network/cnn stride=2": {"dataset": "digits", "network": {"kind": "cnn", "stride": 2, "padding": 3}},
    "network/cnn1d pool=2": {"dataset": "mnist1d", "network": {"kind": "cnn1d", "stride": 1, "pool": 2}},
    "optimizer/sam base=adam": {"optimizer": {"kind": "sam", "base": "adam"}},
    "optimizer/pytorch_optimizer name=adopt": {
        "optimizer": {"kind": "pytorch_optimizer", "name": "adopt", "options": {"betas": [0.8, 0.99]}}
    },
    "analysis/sharpness subspace=5": {"analyses": [{"kind": "sharpness", "subspace": 5}]},
    "loss/mse": {"dataset": "diabetes", "loss": "mse"},
    "loss/huber": {"dataset": "diabetes", "loss": "huber"},
    "loss/cross_entropy": {"loss": "cross_entropy"},
    "class_weights/balanced": {"dataset": "breast_cancer", "class_weights": "balanced"},
    "batch_size/1": {"batch_size": 1},
    "batch_size/full": {"batch_size": "full"},
    "budget/epochs": {"budget": {"epochs": 3}},
    "record/auto": {"record": {}},
    "record/snapshots of a curve": {"dataset": "sine", "record": {"snapshots": [0, 7, 40]}},
    "record/snapshots of a plane": {"dataset": "moons", "record": {"snapshots": [0, 7, 40]}},
    "seeds/five": {"seeds": [7, 3, 2**32 - 1, 0, 11], "regularizers": ["dropout"]},
    "precision/bfloat16 mlp": {"precision": "bfloat16"},
    "precision/bfloat16 cnn": {"precision": "bfloat16", "dataset": "digits", "network": "cnn"},
    "precision/bfloat16 gru": {"precision": "bfloat16", "dataset": "mnist1d", "network": "gru"},
    "execution/eager": {"execution": "eager"},
    # Enough arithmetic per step for a run to train alone, on other kernels.
    "large/mlp": {
        "dataset": "digits",
        "network": {"kind": "mlp", "hidden": [512, 512]},
        "batch_size": 64,
        "budget": {"steps": 8},
    },
    "large/cnn": {
        "dataset": {"kind": "stripes", "samples": 500},
        "network": "cnn",
        "batch_size": 64,
        "budget": {"steps": 8},
    },
    "uploaded/table": {"dataset": {"kind": "uploaded", "id": TABLE, "missing": "impute"}},
    "uploaded/table missing=drop": {"dataset": {"kind": "uploaded", "id": TABLE, "missing": "drop"}},
    "uploaded/table missing=refuse": {
        "dataset": {"kind": "uploaded", "id": TABLE, "features": ["class", "sex", "fare"], "standardize": False}
    },
    "uploaded/table task=regression": {
        "dataset": {"kind": "uploaded", "id": TABLE, "target": "fare", "task": "regression", "missing": "impute"}
    },
    "uploaded/table task=classification": {
        "dataset": {"kind": "uploaded", "id": TABLE, "target": "alone", "task": "classification", "missing": "impute"}
    },
    "uploaded/images": {"dataset": {"kind": "uploaded", "id": IMAGES}, "network": "cnn"},
    "uploaded/images reduced": {
        "dataset": {"kind": "uploaded", "id": IMAGES, "image_size": 6, "channels": 1, "standardize": False}
    },
}

COMPILED_VALUES: Fields = {
    "dataset": "sine",
    "network": {"kind": "mlp", "hidden": [8, 4], "activation": "gelu"},
    "regularizers": ["dropout", "l2"],
    "execution": "compiled",
}
COMPILED: Mapping[str, Fields] = {
    # The first two share their programs, as a compilation takes half a minute. 21 runs use all three widths of them.
    "execution/compiled regression": {**COMPILED_VALUES, "seeds": 21},
    "execution/compiled sam": {**COMPILED_VALUES, "optimizer": "sam"},
    "execution/compiled classification": {
        "network": "linear",
        "regularizers": ["label_smoothing"],
        "execution": "compiled",
    },
}


def combinations(uploads: Uploads) -> Iterator[tuple[str, Case]]:
    """Yield the name of each case and the case."""
    for name, fields in {**SINGLE, **COMPILED}.items():
        yield name, make_case(uploads, fields)
    yield "uploaded/table from disk", make_case(uploads, SINGLE["uploaded/table"], from_disk=True)
    yield "uploaded/images from disk", make_case(uploads, SINGLE["uploaded/images"], from_disk=True)
    for evaluation in choices(Evaluation):
        kind = evaluation.model_fields["kind"].default
        fields = {"evaluation": kind, **REQUIREMENTS.get(kind, {}), "dataset": "sine"}
        yield f"regression/{kind}", make_case(uploads, fields)
    for dataset, network in {"iris": "mlp", "diabetes": "mlp", "digits": "cnn", "mnist1d": "gru"}.items():
        yield f"all regularizers/{dataset}", make_case(uploads, _all_regularizers(uploads, dataset, network))
    yield "cohort/hyperparameters", make_case(uploads, *map(_scaled, (1.0, 0.5, 0.1)))
    # The first run completes, the second stops early, the third diverges.
    ends = ((0.01, 100), (1e-6, 1), (1e5, 100))
    yield "cohort/early ends", make_case(uploads, *(_ending(rate, patience) for rate, patience in ends))


def _all_regularizers(uploads: Uploads, dataset: str, network: str) -> Fields:
    """Return the fields of a spec with every regularizer that fits the data and those before it."""
    fields: dict[str, Any] = {"dataset": dataset, "network": network, "optimizer": "momentum", "schedule": "cosine"}
    regularizers: Sequence[str] = ()
    for component in choices(Regularizer):
        more = [*regularizers, component.model_fields["kind"].default]
        if is_valid(fields | {"regularizers": more}, lambda fields: make_case(uploads, fields)):
            regularizers = more
    return fields | {"regularizers": regularizers}


def _scaled(factor: float) -> Fields:
    """Return the fields of a spec whose hyperparameters are scaled by a factor."""
    return {
        "optimizer": {"kind": "adamw", "learning_rate": 0.02 * factor, "betas": [0.9 * factor, 1 - 0.01 * factor]},
        "schedule": {"kind": "one_cycle", "warmup_fraction": 0.5 * factor},
        "regularizers": [
            {"kind": "l2", "weight": 0.01 * factor},
            {"kind": "dropout", "probability": 0.3 * factor},
            {"kind": "batch_norm", "momentum": 0.2 * factor},
        ],
    }


def _ending(learning_rate: float, patience: int) -> Fields:
    return {
        "dataset": "diabetes",
        "optimizer": {"kind": "sgd", "learning_rate": learning_rate},
        "regularizers": [{"kind": "early_stopping", "patience": patience}],
    }
