"""All cases of the fingerprint, derived from the components that a spec can name."""

from collections.abc import Mapping
from typing import Any

from models.spec.component import Component, choices
from models.spec.uploads import Published, Uploaded
from tests.components import LIST_FIELDS, REQUIREMENTS
from tests.fingerprint.case import Case, Fields, make_case
from tests.fingerprint.combinations import combinations
from tests.fingerprint.coverage import COMPONENTS, uncovered
from tests.fingerprint.uploads import Uploads
from tests.fingerprint.variants import variants

MANY_ROWS: Fields = {
    "network": "linear",
    "budget": {"steps": 10},
    "evaluation": {"kind": "holdout", "test": 0.98, "validation": 0.01},
}
FIELDS_OF_KINDS: Mapping[str, Fields] = {
    **REQUIREMENTS,
    **{dataset.model_fields["kind"].default: MANY_ROWS for dataset in choices(Published)},
    "l1": {"optimizer": "momentum"},  # "proximal" needs one step size for all weights
    "augmentation": {"dataset": "digits"},
    "step": {"schedule": {"kind": "step", "every_steps": 10}},
    "max_norm": {"regularizers": [{"kind": "max_norm", "maximum": 0.5}]},
    "early_stopping": {  # every criterion stops a run
        "dataset": "breast_cancer",
        "optimizer": {"kind": "adam", "learning_rate": 0.05},
        "budget": {"steps": 150},
        "record": {"every_steps": 1, "evaluate_every": 1},
    },
    "line": {"analyses": [{"kind": "line", "to": "another run"}]},
}
"""By kind: the fields in which the specs of a component differ from BASE."""


def all_cases(uploads: Uploads) -> dict[str, Case]:
    """Return every case by its name.

    Raises:
        ValueError: if no case covers some component, mode or field.

    """
    cases: dict[str, Case] = {}
    for family, union in COMPONENTS.items():
        for component in choices(union):
            if component is not Uploaded:  # it needs a file, and its options depend on the contents
                cases |= _cases_of(uploads, family, component)
    cases |= combinations(uploads)
    if missing := uncovered(cases.values()):
        raise ValueError(f"no case covers {', '.join(missing)}: add some to tests/fingerprint/combinations.py")
    return cases


def _cases_of(uploads: Uploads, family: str, component: type[Component]) -> dict[str, Case]:
    kind, field = component.model_fields["kind"].default, LIST_FIELDS.get(family, family)
    fields = FIELDS_OF_KINDS.get(kind, {})

    def case(options: dict[str, Any]) -> Case:
        return make_case(uploads, {**fields, field: [options] if family in LIST_FIELDS else options})

    default = fields.get(field, {"kind": kind})
    try:
        options_by_label = variants(component, default[0] if isinstance(default, list) else default, case)
    except ValueError as error:
        raise ValueError(
            f'no spec for the {family} "{kind}" is valid: add the fields that it needs to FIELDS_OF_KINDS in '
            f"tests/fingerprint/cases.py\n{error}"
        ) from error
    return {f"{family}/{kind} {label}".strip(): case(options) for label, options in options_by_label.items()}
