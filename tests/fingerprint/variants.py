"""Specs of a component that are derived from its fields: default values, every mode, and other numbers."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

from models.spec.component import Component

Options = dict[str, Any]


def variants(component: type[Component], default: Options, check: Callable[[Options], object]) -> dict[str, Options]:
    """Return the options of a component that are worth a case each, by a label.

    The first has the label "" and the default options. Each of the others has one value of a boolean or a literal that
    is not the default ("amsgrad=True"), or none ("numbers"), and another number in every field that accepts one.

    Args:
        component: the class of the component.
        default: its options in the first variant, `kind` among them.
        check: raises ValueError if a spec with these options is invalid.

    Raises:
        ValueError: if the default options, or those of a mode, are invalid.

    """
    check(default)
    options_by_label = {"": default}
    for mode in [{}, *_modes(component, default)]:
        options = default | mode
        check(options)
        for name, field in component.model_fields.items():
            for number in _other_numbers(options.get(name, field.default)):
                if is_valid(options | {name: number}, check):
                    options |= {name: number}
                    break
        if options != default:
            label = ", ".join(f"{name}={value}" for name, value in mode.items()) or "numbers"
            options_by_label[label] = options
    return options_by_label


def is_valid(options: Options, check: Callable[[Options], object]) -> bool:
    """Return whether the check accepts the options."""
    try:
        check(options)
    except ValueError:
        return False
    return True


def _modes(component: type[Component], default: Options) -> Iterator[Options]:
    for name, field in component.model_fields.items():
        values: tuple[Any, ...] = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        if field.annotation is bool:
            values = (False, True)
        yield from ({name: value} for value in values if value != default.get(name, field.default))


def _other_numbers(value: Any) -> Iterator[Any]:
    """Yield values to try in the place of this one, the preferred first; none if it is not a number."""
    match value:
        case bool():
            return
        case int():
            yield from (value + 1, value - 1)
        case float():
            yield from (value / 2 or 0.25, 0.25)
        case tuple() | list():
            yield [next(_other_numbers(item), item) for item in value]
