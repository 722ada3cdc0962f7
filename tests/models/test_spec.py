import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError

from models.spec.component import Component, choices, per_run_fields
from models.spec.datasets import BuiltIn
from models.spec.evaluation import Evaluation
from models.spec.families import FAMILIES
from models.spec.job import MAX_BATCH, MAX_SEED, JobSpec, digest
from models.spec.networks import Network
from models.spec.optimizers import SAM, Adam, BaseRule, Optimizer
from models.spec.regularizers import L1, EarlyStopping, Regularizer
from models.spec.schedules import OneCycle, Schedule


def spec(**changes: Any) -> JobSpec:
    return JobSpec.model_validate({"dataset": "sine", "optimizer": "adam"} | changes)


def refusal(**changes: Any) -> tuple[str, str]:
    """Where and why a spec is refused."""
    with pytest.raises(ValidationError) as caught:
        spec(**changes)
    error = caught.value.errors()[0]
    return "/".join(str(part) for part in error["loc"]), error["msg"]


# ── what a spec says ─────────────────────────────────────────────────────────────────────────────


def test_a_dataset_and_an_optimizer_are_a_whole_job() -> None:
    whole = spec()
    assert (whole.network.kind, whole.loss, whole.batch_size, whole.seeds) == ("mlp", "auto", 64, (0,))
    assert (whole.budget.epochs, whole.budget.steps, whole.evaluation.kind) == (50, None, "holdout")
    for missing in ("dataset", "optimizer"):
        with pytest.raises(ValidationError, match=missing):
            JobSpec.model_validate({"dataset": "sine", "optimizer": "adam"} | {missing: None})


ALL_KINDS = [
    (family, kind)
    for family, union in FAMILIES.items()
    for kind in choices(union)
    if not any(field.is_required() for field in kind.model_fields.values())
]


def with_component(family: str, value: object) -> JobSpec:
    match family:
        case "regularizer":
            # With classes, since some regularizers are for them alone.
            return spec(dataset="digits", regularizers=[value])
        case "analysis":
            return spec(dataset="digits", analyses=[value])
        case _:
            return spec(**{family: value})


@pytest.mark.parametrize(("family", "component"), ALL_KINDS)
def test_a_bare_name_stands_for_the_component_with_its_defaults(family: str, component: type[Component]) -> None:
    kind = component.model_fields["kind"].default
    bare, named, built = (with_component(family, one) for one in (kind, {"kind": kind}, component(kind=kind)))
    assert bare == named == built
    assert bare.spec_hash == named.spec_hash == built.spec_hash


def test_a_number_of_seeds_stands_for_that_many_from_zero() -> None:
    assert spec(seeds=3) == spec(seeds=[0, 1, 2])
    assert spec(seeds=[7, MAX_SEED, 0]).seeds == (7, MAX_SEED, 0)
    assert len(spec(seeds=1_000).seeds) == 1_000


@pytest.mark.parametrize("optimizer", ["gradient_descent", {"kind": "gradient_descent", "learning_rate": 0.5}, "lbfgs"])
def test_gradient_descent_takes_the_whole_training_split(optimizer: object) -> None:
    assert spec(optimizer=optimizer).batch_size == "full"
    assert spec(optimizer=optimizer) == spec(optimizer=optimizer, batch_size="full")
    assert "sgd" in refusal(optimizer=optimizer, batch_size=64)[1]
    assert spec(optimizer="sgd", batch_size="full").batch_size == "full"


@pytest.mark.parametrize(
    ("dataset", "fits", "does_not"),
    [
        ("sine", ["auto", "mse", "huber"], ["cross_entropy"]),
        ("diabetes", ["auto", "mse", "huber"], ["cross_entropy"]),
        ("digits", ["auto", "cross_entropy"], ["mse", "huber"]),
        ("breast_cancer", ["auto", "cross_entropy"], ["mse", "huber"]),
    ],
)
def test_the_loss_fits_the_task(dataset: str, fits: list[str], does_not: list[str]) -> None:
    for loss in fits:
        assert spec(dataset=dataset, loss=loss).loss == loss
    for loss in does_not:
        assert dataset in refusal(dataset=dataset, loss=loss)[1]


def test_a_regularizer_of_each_kind_may_stand_once() -> None:
    kinds = ["l1", "l2", "elastic_net", "dropout", "early_stopping"]
    assert [r.kind for r in spec(regularizers=kinds).regularizers] == kinds
    assert "l2" in refusal(regularizers=["l2", "l1", {"kind": "l2", "weight": 0.5}])[1]


@pytest.mark.parametrize("dataset", ["sine", "diabetes"])
def test_label_smoothing_is_for_classes_only(dataset: str) -> None:
    assert spec(dataset="digits", regularizers=["label_smoothing"]).regularizers[0].kind == "label_smoothing"
    place, words = refusal(dataset=dataset, regularizers=["l2", "label_smoothing"])
    assert place == ""
    assert "label_smoothing" in words
    assert "regression" in words


PROXIMAL = {"kind": "l1", "proximal": True}
ONE_STEP_SIZE = {"gradient_descent", "sgd", "momentum", "nesterov", "sam"}  # sam's base is momentum unless said


@pytest.mark.parametrize("kind", [c.model_fields["kind"].default for c in choices(Optimizer)])
def test_a_proximal_step_needs_one_step_size_for_all_weights(kind: str) -> None:
    assert spec(optimizer=kind, regularizers=["l1"]).regularizers == (L1(),)
    if kind in ONE_STEP_SIZE:
        assert spec(optimizer=kind, regularizers=[PROXIMAL]).regularizers == (L1(proximal=True),)
    else:
        assert f'"{kind}"' in refusal(optimizer=kind, regularizers=[PROXIMAL])[1]
        if kind in {c.model_fields["kind"].default for c in choices(BaseRule)}:
            aware = {"kind": "sam", "base": kind}
            assert f'"{kind}"' in refusal(optimizer=aware, regularizers=[PROXIMAL])[1]


@pytest.mark.parametrize(
    ("criterion", "field", "value", "remedy"),
    [
        ("patience", "threshold", 3, '"generalization_loss" or "progress_quotient"'),
        ("patience", "strip", 1, '"progress_quotient" or "successive_increases"'),
        ("generalization_loss", "patience", 3, 'take "patience"'),
        ("generalization_loss", "strip", 1, '"progress_quotient"'),
        ("progress_quotient", "increases", 2, 'take "successive_increases"'),
        ("successive_increases", "threshold", 3, '"generalization_loss"'),
    ],
)
def test_a_field_of_another_stopping_criterion_is_refused(criterion: str, field: str, value: int, remedy: str) -> None:
    stopping = {"kind": "early_stopping", "criterion": criterion}
    default = EarlyStopping.model_fields[field].default
    assert spec(regularizers=[stopping | {field: default}]) == spec(regularizers=[stopping])
    place, words = refusal(regularizers=[stopping | {field: value}])
    assert place == "regularizers/0/early_stopping"
    assert f'{field} means nothing to the criterion "{criterion}"' in words
    assert remedy in words


@pytest.mark.parametrize(
    ("part", "field"), [("", "priority"), ("optimizer", "learning_rate"), ("dataset", "noise"), ("budget", "epochs")]
)
def test_a_spec_never_changes(part: str, field: str) -> None:
    whole = spec()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(getattr(whole, part) if part else whole, field, 5)
    assert whole == spec()


# ── what is refused ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"optimizer": {"kind": "sgd", "momentum": 0.9}}, "optimizer/sgd/momentum"),
        ({"optimizer": {"kind": "sam", "base": {"kind": "sgd", "rho": 1}}}, "optimizer/sam/base/sgd/rho"),
        ({"schedule": {"kind": "constant", "gamma": 0.9}}, "schedule/constant/gamma"),
        ({"regularizers": ["l1", {"kind": "l2", "wieght": 1}]}, "regularizers/1/l2/wieght"),
        ({"budget": {"steps": 1, "hours": 5}}, "budget/hours"),
        ({"evaluation": {"kind": "holdout", "folds": 5}}, "evaluation/holdout/folds"),
    ],
)
def test_fields_that_nobody_knows_are_refused_where_they_stand(changes: dict[str, Any], place: str) -> None:
    assert refusal(**changes) == (place, "Extra inputs are not permitted")


@pytest.mark.parametrize("family", ["dataset", "network", "optimizer", "schedule", "evaluation"])
@pytest.mark.parametrize("value", ["adamm", {"kind": "adamm"}, {"kind": None}, 7, None, ["adam"]])
def test_kinds_that_nobody_knows_are_refused(family: str, value: object) -> None:
    assert refusal(**{family: value})[0].startswith(family)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "NaN", "Infinity"])
@pytest.mark.parametrize(
    ("place", "changes"),
    [
        ("dataset/sine/noise", lambda value: {"dataset": {"kind": "sine", "noise": value}}),
        ("optimizer/adam/learning_rate", lambda value: {"optimizer": {"kind": "adam", "learning_rate": value}}),
        ("optimizer/adam/betas/1", lambda value: {"optimizer": {"kind": "adam", "betas": [0.9, value]}}),
        ("regularizers/0/l2/weight", lambda value: {"regularizers": [{"kind": "l2", "weight": value}]}),
        ("evaluation/holdout/validation", lambda value: {"evaluation": {"kind": "holdout", "validation": value}}),
    ],
)
def test_numbers_that_are_not_finite_are_refused(place: str, changes: Any, value: object) -> None:
    assert refusal(**changes(value)) == (place, "Input should be a finite number")


@pytest.mark.parametrize(
    ("place", "accepted", "refused"),
    [
        ("batch_size", [1, MAX_BATCH, "full"], [0, -1, MAX_BATCH + 1, True, 64.0, "64", "half", None]),
        ("seeds", [1, 1_000, [0], [MAX_SEED]], [0, -1, 1_001, True, 2.5, [], "3", None, [1, 2, 1], [0] * 2]),
        ("seeds/0", [[0]], [[-1], [MAX_SEED + 1], [0.5], [None], [True], ["1"]]),
        ("priority", [-100, 100], [-101, 101, 0.5, True, "3"]),
        ("name", ["", "n" * 200, "θ – λ"], ["n" * 201, "a\nb", "a\x00", "a\x7f", "a\n", "\ud800"]),
        ("experiment", ["e" * 200], ["e" * 201, "\t"]),
        ("tags", [["t"] * 32], [["t"] * 33]),
        ("tags/0", [["t" * 64]], [["t" * 65], [""], ["\n"]]),
        ("notes", ["n" * 10_000, "two\nlines"], ["n" * 10_001]),
        ("device", ["auto", "cpu", "cuda"], ["tpu", ""]),
        ("loss", ["auto"], ["hinge"]),
        ("budget", [{"steps": 1}, {"epochs": 1}], [{}, {"steps": 1, "epochs": 1}]),
        ("budget/steps", [{"steps": 10_000_000}], [{"steps": 0}, {"steps": 10_000_001}, {"steps": 1.5}]),
        ("budget/epochs", [{"epochs": 10_000}], [{"epochs": 0}, {"epochs": 10_001}]),
        ("record", [{"every_steps": 1}, {"evaluate_every": "auto"}], [{"every_steps": 0}, {"evaluate_every": -5}]),
        ("record/snapshots", [{"snapshots": [0] * 100}], [{"snapshots": [0] * 101}]),
        ("record/snapshots/0", [{"snapshots": [0]}], [{"snapshots": [-1]}, {"snapshots": [10_000_001]}]),
        ("regularizers", [[]], ["l2", {"kind": "l2"}, ["l2"] * 17]),
    ],
)
def test_what_lies_outside_its_bounds_is_refused(place: str, accepted: list[object], refused: list[object]) -> None:
    field = place.split("/")[0]
    for value in accepted:
        spec(**{field: value})
    for value in refused:
        assert refusal(**{field: value})[0] == place, value


STRIPS = {"kind": "early_stopping", "criterion": "successive_increases"}


@pytest.mark.parametrize(
    ("family", "accepted", "refused"),
    [
        ("dataset", {"kind": "sine", "samples": 10}, {"kind": "sine", "samples": 9}),
        ("dataset", {"kind": "sine", "noise": 0}, {"kind": "sine", "noise": -0.1}),
        ("dataset", {"kind": "sine", "frequency": 0.1}, {"kind": "sine", "frequency": 0}),
        ("network", {"kind": "mlp", "hidden": [8_192] * 64}, {"kind": "mlp", "hidden": [8] * 65}),
        ("network", {"kind": "mlp", "hidden": [1]}, {"kind": "mlp", "hidden": []}),
        ("network", {"kind": "mlp", "hidden": [8_192]}, {"kind": "mlp", "hidden": [8_193]}),
        ("network", {"kind": "mlp", "activation": "tanh"}, {"kind": "mlp", "activation": "tan"}),
        ("optimizer", {"kind": "sgd", "learning_rate": 1e-12}, {"kind": "sgd", "learning_rate": 0}),
        ("optimizer", {"kind": "momentum", "momentum": 0}, {"kind": "momentum", "momentum": 1}),
        ("optimizer", {"kind": "nesterov", "momentum": 0.1}, {"kind": "nesterov", "momentum": 0}),
        ("optimizer", {"kind": "adam", "betas": [0, 0]}, {"kind": "adam", "betas": [0.9, 1]}),
        ("optimizer", {"kind": "adam", "betas": [0.9, 0.99]}, {"kind": "adam", "betas": [0.9]}),
        ("optimizer", {"kind": "rmsprop", "epsilon": 1}, {"kind": "rmsprop", "epsilon": 0}),
        ("optimizer", {"kind": "momentum", "dampening": 1}, {"kind": "momentum", "dampening": 1.1}),
        ("optimizer", {"kind": "nadam", "momentum_decay": 0}, {"kind": "nadam", "momentum_decay": -1}),
        ("optimizer", {"kind": "sam", "rho": 0}, {"kind": "sam", "rho": -0.1}),
        ("optimizer", {"kind": "sam", "base": "sgd"}, {"kind": "sam", "base": "gradient_descent"}),
        ("optimizer", {"kind": "sam", "base": "adamax"}, {"kind": "sam", "base": "sam"}),
        ("schedule", {"kind": "warmup", "steps": 1}, {"kind": "warmup", "steps": 0}),
        ("schedule", {"kind": "warmup", "start_factor": 1}, {"kind": "warmup", "start_factor": 0}),
        ("schedule", {"kind": "step", "every_steps": 1}, {"kind": "step", "every_steps": 0}),
        ("schedule", {"kind": "exponential", "gamma": 1}, {"kind": "exponential", "gamma": 1.1}),
        ("schedule", {"kind": "cosine", "minimum_factor": 0}, {"kind": "cosine", "minimum_factor": -0.1}),
        ("schedule", {"kind": "one_cycle", "warmup_fraction": 0}, {"kind": "one_cycle", "warmup_fraction": 1.1}),
        ("schedule", {"kind": "one_cycle", "final_divisor": 1}, {"kind": "one_cycle", "initial_divisor": 0.5}),
        ("regularizer", {"kind": "l2", "weight": 0}, {"kind": "l2", "weight": -1e-9}),
        ("regularizer", {"kind": "elastic_net", "l1_ratio": 1}, {"kind": "elastic_net", "l1_ratio": 1.1}),
        ("regularizer", {"kind": "dropout", "probability": 0}, {"kind": "dropout", "probability": 1}),
        ("regularizer", {"kind": "label_smoothing", "smoothing": 0}, {"kind": "label_smoothing", "smoothing": 1}),
        ("regularizer", {"kind": "label_noise", "share": 1}, {"kind": "label_noise", "share": 1.01}),
        ("regularizer", {"kind": "weight_noise"}, {"kind": "weight_noise", "standard_deviation": -0.1}),
        ("regularizer", {"kind": "input_noise"}, {"kind": "input_noise", "standard_deviation": -0.1}),
        ("regularizer", {"kind": "mixup", "alpha": 1e-3}, {"kind": "mixup", "alpha": 0}),
        ("regularizer", {"kind": "max_norm", "maximum": 1e-9}, {"kind": "max_norm", "maximum": 0}),
        ("regularizer", {"kind": "gradient_clipping", "by": "value"}, {"kind": "gradient_clipping", "by": "size"}),
        ("regularizer", STRIPS | {"strip": 1}, STRIPS | {"strip": 0}),
        ("regularizer", {"kind": "early_stopping", "patience": 1}, {"kind": "early_stopping", "patience": 0}),
        ("evaluation", {"kind": "holdout", "test": 0}, {"kind": "holdout", "validation": 0}),
        ("evaluation", {"kind": "holdout", "test": 0.79}, {"kind": "holdout", "test": 0.8}),
    ],
)
def test_a_component_keeps_to_its_bounds(family: str, accepted: object, refused: object) -> None:
    with_component(family, accepted)
    with pytest.raises(ValidationError):
        with_component(family, refused)


# ── what makes two specs the same ────────────────────────────────────────────────────────────────


def test_labels_do_not_change_the_hash() -> None:
    labels = {"name": "adam", "experiment": "lab", "tags": ["a"], "notes": "n", "priority": 9}
    assert spec(**labels).spec_hash == spec().spec_hash
    assert spec(**labels).cohort_key == spec().cohort_key
    assert not labels.keys() & spec(**labels).canonical().keys()


def test_defaults_that_are_spelled_out_do_not_change_the_hash() -> None:
    spelled_out = spec().model_dump(mode="json")
    assert spelled_out["optimizer"]["betas"] == [0.9, 0.999]
    assert JobSpec.model_validate(spelled_out).spec_hash == spec().spec_hash
    assert spec(seeds=1, batch_size=64, loss="auto", budget={"epochs": 50}, device="auto").spec_hash == spec().spec_hash
    assert spec(optimizer={"kind": "adam", "learning_rate": 1e-3}).spec_hash == spec().spec_hash


def test_whole_numbers_and_their_decimals_are_the_same() -> None:
    whole, decimal = ({"kind": "sgd", "learning_rate": rate} for rate in (1, 1.0))
    assert spec(optimizer=whole).spec_hash == spec(optimizer=decimal).spec_hash


def backwards(value: Any) -> Any:
    """The same JSON with the members of every object in the opposite order."""
    if isinstance(value, dict):
        return {key: backwards(inner) for key, inner in reversed(value.items())}
    return [backwards(inner) for inner in value] if isinstance(value, list) else value


def test_the_order_of_members_does_not_change_the_hash() -> None:
    document = spec(regularizers=["elastic_net", "dropout"]).model_dump(mode="json")
    turned = JobSpec.model_validate(backwards(document))
    assert list(backwards(document)) != list(document)
    assert turned.spec_hash == JobSpec.model_validate(document).spec_hash
    assert digest(backwards(document)) == digest(document)


DIFFERENT: list[dict[str, Any]] = [
    {},
    {"dataset": "diabetes"},
    {"dataset": {"kind": "sine", "noise": 0.2}},
    {"network": "linear"},
    {"network": {"kind": "mlp", "hidden": [64]}},
    {"loss": "huber"},
    {"optimizer": "adamw"},
    {"optimizer": {"kind": "adam", "learning_rate": 0.1}},
    {"optimizer": {"kind": "adam", "amsgrad": True}},
    {"optimizer": "sam"},
    {"optimizer": {"kind": "sam", "base": "adam"}},
    {"optimizer": {"kind": "sam", "base": {"kind": "momentum", "learning_rate": 0.1}}},
    {"schedule": "cosine"},
    {"schedule": {"kind": "cosine", "minimum_factor": 0.1}},
    {"regularizers": ["l2"]},
    {"regularizers": [{"kind": "l2", "weight": 0.5}]},
    {"batch_size": 32},
    {"batch_size": "full"},
    {"budget": {"epochs": 51}},
    {"budget": {"steps": 450}},
    {"evaluation": {"kind": "holdout", "test": 0}},
    {"evaluation": {"kind": "k_fold", "folds": 3, "repeats": 2}},
    {"evaluation": {"kind": "boosting", "shrinkage": 0.5}},
    {"seeds": 2},
    {"seeds": [1]},
    {"record": {"snapshots": [1]}},
    {"record": {"evaluate_every": 5}},
    {"device": "cpu"},
]


def test_whatever_trains_differently_has_another_hash() -> None:
    hashes = {spec(**changes).spec_hash for changes in DIFFERENT}
    assert len(hashes) == len(DIFFERENT)
    assert all(len(one) == 64 and set(one) <= set("0123456789abcdef") for one in hashes)


L2 = {"regularizers": [{"kind": "l2", "weight": 0.5}]}
DROPOUT = {"regularizers": [{"kind": "dropout", "probability": 0.1}]}
STOPPING = {"regularizers": [{"kind": "early_stopping", "patience": 3, "min_delta": 0.1}]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"optimizer": {"kind": "adam", "learning_rate": 0.5}}),
        ({}, {"optimizer": {"kind": "adam", "betas": [0.5, 0.6], "epsilon": 1e-3}}),
        ({}, {"seeds": [5, 6]}),
        ({"optimizer": "rmsprop"}, {"optimizer": {"kind": "rmsprop", "momentum": 0.5, "alpha": 0.5}}),
        ({"optimizer": "sam"}, {"optimizer": {"kind": "sam", "rho": 0.5, "base": {"kind": "momentum", "momentum": 0}}}),
        ({"schedule": "one_cycle"}, {"schedule": {"kind": "one_cycle", "warmup_fraction": 0.5, "final_divisor": 2}}),
        ({"regularizers": ["l2"]}, L2),
        ({"regularizers": ["dropout"]}, DROPOUT),
        ({"regularizers": ["early_stopping"]}, STOPPING),
    ],
)
def test_runs_that_differ_only_in_numbers_of_their_own_share_a_cohort(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert spec(**one).cohort_key == spec(**other).cohort_key
    assert spec(**one).spec_hash != spec(**other).spec_hash


def test_runs_of_different_shape_never_share_a_cohort() -> None:
    shapes = [
        *(changes for changes in DIFFERENT if not changes.keys() & {"optimizer", "schedule", "regularizers", "seeds"}),
        {"optimizer": "adamw"},
        {"optimizer": {"kind": "adam", "amsgrad": True}},
        {"optimizer": "rmsprop"},
        {"optimizer": {"kind": "rmsprop", "centered": True}},
        {"optimizer": "sam"},
        {"optimizer": {"kind": "sam", "adaptive": True}},
        {"optimizer": {"kind": "sam", "base": "adam"}},
        {"optimizer": {"kind": "sam", "base": {"kind": "adam", "amsgrad": True}}},
        {"schedule": "warmup"},
        {"schedule": "step"},
        {"regularizers": ["l2"]},
        {"regularizers": ["l1"]},
        {"regularizers": ["l1", "l2"]},
        {"regularizers": ["early_stopping"]},
        {"regularizers": [{"kind": "early_stopping", "restore_best": False}]},
    ]
    assert len({spec(**changes).cohort_key for changes in shapes}) == len(shapes)


def test_a_component_names_the_fields_that_each_run_has_for_itself() -> None:
    assert {"learning_rate", "betas", "epsilon"} <= per_run_fields(Adam)
    assert {"patience", "min_delta"} <= per_run_fields(EarlyStopping)
    assert per_run_fields(SAM) == {"rho"}, "those of its base are its base's"
    assert {"warmup_fraction", "initial_divisor", "final_divisor"} <= per_run_fields(OneCycle)
    assert not {"kind", "restore_best"} & (per_run_fields(Adam) | per_run_fields(EarlyStopping))


# ── any spec at all ──────────────────────────────────────────────────────────────────────────────


def values(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Any JSON value that a field's schema allows."""
    match schema:
        case {"const": only}:
            return st.just(only)
        case {"enum": some}:
            return st.sampled_from(some)
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "integer"}:
            return st.integers(schema["minimum"], schema["maximum"])
        case {"type": "number"}:
            return st.floats(
                schema.get("minimum", schema.get("exclusiveMinimum")),
                schema.get("maximum", schema.get("exclusiveMaximum")),
                exclude_min="exclusiveMinimum" in schema,
                exclude_max="exclusiveMaximum" in schema,
            )
        case {"type": "array", "prefixItems": items}:
            return st.tuples(*map(values, items)).map(list)
        case {"type": "array", "items": item}:
            return st.lists(values(item), min_size=schema.get("minItems", 0), max_size=4)
        case {"default": as_it_is}:
            return st.just(as_it_is)
    raise AssertionError(schema)


def components(family: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Any component of a family, with any of its fields left out."""
    kinds = []
    for component in choices(family):
        fields = {name: values(field) for name, field in component.model_json_schema()["properties"].items()}
        if "base" in fields:
            fields["base"] = components(BaseRule)
        if component is EarlyStopping:
            # What belongs to the other criteria is refused.
            fields = {name: field for name, field in fields.items() if name not in ("threshold", "strip", "increases")}
            fields["criterion"] = st.just("patience")
        kinds.append(st.fixed_dictionaries({"kind": fields.pop("kind")}, optional=fields))
    return st.one_of(kinds)


TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)

PARTS: dict[str, st.SearchStrategy[Any]] = {
    "name": TEXT,
    "tags": st.lists(TEXT, max_size=3),
    "notes": TEXT,
    "priority": st.integers(-100, 100),
    "network": components(Network),
    "schedule": components(Schedule),
    "regularizers": st.lists(components(Regularizer), max_size=5, unique_by=lambda one: one["kind"]),
    "budget": st.one_of(
        st.builds(lambda steps: {"steps": steps}, st.integers(1, 10_000_000)),
        st.builds(lambda epochs: {"epochs": epochs}, st.integers(1, 10_000)),
    ),
    "evaluation": components(Evaluation),
    "seeds": st.one_of(st.integers(1, 9), st.lists(st.integers(0, MAX_SEED), min_size=1, max_size=5, unique=True)),
    "record": st.builds(
        lambda every, snapshots: {"every_steps": every, "snapshots": snapshots},
        st.one_of(st.just("auto"), st.integers(1, 1_000)),
        st.lists(st.integers(0, 1_000), max_size=4),
    ),
    "device": st.sampled_from(["auto", "cpu", "cuda"]),
}


def is_valid(document: dict[str, Any], **changes: Any) -> bool:
    try:
        JobSpec.model_validate(document | changes)
    except ValidationError:
        return False
    return True


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Any valid spec, as a client may send it."""
    required = {"dataset": components(BuiltIn), "optimizer": components(Optimizer)}
    document: dict[str, Any] = draw(st.fixed_dictionaries(required, optional=PARTS))
    if "regularizers" in document:
        required_only = {part: document[part] for part in required}
        document["regularizers"] = [r for r in document["regularizers"] if is_valid(required_only, regularizers=[r])]
        if not is_valid(required_only, regularizers=document["regularizers"]):  # mixup and cutmix
            document["regularizers"] = document["regularizers"][:1]
    for part in ("network", "evaluation"):
        # Fields that do not go together, such as three kernels for two blocks.
        if part in document and not is_valid({p: document[p] for p in required}, **{part: document[part]}):
            del document[part]
    if document["optimizer"]["kind"] not in ("gradient_descent", "lbfgs") and draw(st.booleans()):
        document["batch_size"] = draw(st.one_of(st.just("full"), st.integers(1, MAX_BATCH)))
    return document


@examples(max_examples=100, deadline=None)
@given(document=documents())
def test_any_spec_survives_being_written_and_read_with_its_hash(document: dict[str, Any]) -> None:
    before = JobSpec.model_validate(document)
    text = json.dumps(before.model_dump(mode="json"), allow_nan=False)
    after = JobSpec.model_validate(backwards(json.loads(text)))
    assert after == before
    assert (after.spec_hash, after.cohort_key) == (before.spec_hash, before.cohort_key)
    assert JobSpec.model_validate_json(text) == before
