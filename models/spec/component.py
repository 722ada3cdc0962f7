"""What every choice inside a spec has in common."""

from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

T = TypeVar("T")

# Only the first item that is wrong becomes an error: of a large body there could be 100,000.
Items = Annotated[tuple[T, ...], Field(fail_fast=True)]

MAX_FIELDS = 100


class SpecModel(BaseModel):
    """A frozen part of a spec: unknown fields and non-finite numbers are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, value: Any) -> Any:
        """Refuse a very large object as a whole, as each unknown field would become an error of its own."""
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            raise ValueError(f"this has {len(value):,} fields, of which at most {len(cls.model_fields)} are known")
        return value


class Component(SpecModel):
    """One choice inside a spec. `kind` is its tag; the class docstring is its public description."""

    kind: str


class _PerRun:
    """Marks a field that may differ between the runs of one cohort.

    The engine holds such a field as one `(K, 1)` column, a value per run. Every unmarked field changes the
    shape of the program, so runs that differ in it cannot train together.
    """

    def __repr__(self) -> str:
        return "PerRun"


PerRun = _PerRun()

PositiveRate = Annotated[float, Field(gt=0, le=1e6), PerRun]
Fraction = Annotated[float, Field(ge=0, lt=1), PerRun]
Weight = Annotated[float, Field(ge=0, le=1e6), PerRun]
Epsilon = Annotated[float, Field(gt=0, le=1), PerRun]


def per_run_fields(component: type[SpecModel]) -> frozenset[str]:
    """The names of the fields that may differ inside a cohort."""
    return frozenset(name for name, field in component.model_fields.items() if any(m is PerRun for m in field.metadata))


def shared_shape(part: SpecModel) -> dict[str, Any]:
    """The component without its per-run fields, nor those of a component inside it: equal for components that can share
    one cohort.
    """
    shape = part.model_dump(mode="json", exclude=set(per_run_fields(type(part))))
    inner = {name: value for name in shape if isinstance(value := getattr(part, name), SpecModel)}
    return shape | {name: shared_shape(value) for name, value in inner.items()}


def _spell_out(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


# In a spec, a bare string stands for a component with its defaults: "adam" is {"kind": "adam"}.
BareName = BeforeValidator(_spell_out, json_schema_input_type=str | dict[str, Any])


def choices(family: Any) -> Iterator[type[Component]]:
    """Walk the component classes of a family, in the order in which the union lists them."""
    for part in get_args(family):
        if isinstance(part, type):
            if issubclass(part, Component):
                yield part
        else:
            yield from choices(part)
