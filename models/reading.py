"""How a spec reads an uploaded data set: which column is predicted, from which, and in how many inputs.

It goes by the description alone and never looks at the rows, so that it costs nothing to ask and is the same on every
host. What it counts of the values of a category spares the sealed rows, as everything does that reaches a network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from models.spec.evaluation import Evaluation
from models.spec.plan import PlanError
from models.spec.shape import Task
from models.spec.uploads import Found, Uploaded
from models.stored import Column, ColumnType, Description

USUAL_TARGETS = ("target", "label", "y")
MOST_CLASSES_BY_GUESS = 20
"""Whole numbers of more values are taken for amounts, unless the spec says otherwise."""


class Misreading(PlanError):
    """A spec that reads an uploaded data set as what it is not."""

    code = "does_not_fit_data"


class Feature(NamedTuple):
    """One column that a network learns from."""

    place: int
    """Of the column among all of them."""
    name: str
    type: ColumnType
    inputs: int = 1


@dataclass(frozen=True)
class Reading:
    """A data set as one spec reads it."""

    rows: int
    target: Column
    target_place: int
    task: Task
    classes: tuple[str, ...]
    """Sorted as the outputs of the network are; empty for a regression."""
    features: tuple[Feature, ...]
    """Of a table."""
    left_out: dict[str, str]
    """Columns that nothing is learned from, and why."""
    grid: tuple[int, ...]
    drops_rows: bool
    """Whether the data set has more rows than are read."""

    @property
    def found(self) -> Found:
        inputs = sum(feature.inputs for feature in self.features)
        for side in self.grid:
            inputs = max(1, inputs) * side
        return Found(
            rows=self.rows,
            features=inputs,
            task=self.task,
            outputs=len(self.classes) or 1,
            grid=self.grid,
            target=self.target.name,
        )


def read(description: Description, dataset: Uploaded, evaluation: Evaluation) -> Reading:
    """Decide how the spec's data set is read.

    Raises:
        Misreading: if it cannot be read so; the pointer names the place in the spec.

    """
    place = _target(description, dataset)
    target = description.columns[place]
    is_table = description.layout == "table"
    task = _task(target, dataset, countable=not is_table)
    classes = _classes(target) if task == "classification" else ()
    chosen, left_out = _features(description, dataset, place) if is_table else ([], {})
    rows = _rows(description, dataset, [place, *chosen])
    sealed = evaluation.sealed(rows)
    # Where rows are dropped, the others are sealed in another order than the one that the values were counted in.
    counted = 0 if rows < description.rows else sealed
    columns = description.columns
    return Reading(
        rows,
        target,
        place,
        task,
        classes,
        tuple(Feature(i, columns[i].name, columns[i].type, _inputs(columns[i], counted)) for i in chosen),
        left_out,
        () if is_table else _grid(description, dataset),
        rows < description.rows,
    )


def likely_target(columns: Sequence[Column]) -> int:
    """The place of the column that is predicted where nobody says which."""
    usable = [place for place, column in enumerate(columns) if column.type != "text"]
    usual = [place for wanted in USUAL_TARGETS for place in usable if columns[place].name.lower() == wanted]
    return next(iter([*usual, *reversed(usable)]), len(columns) - 1)


def _target(description: Description, dataset: Uploaded) -> int:
    columns = description.columns
    if dataset.target is None:
        return likely_target(columns)
    place = next((place for place, column in enumerate(columns) if column.name == dataset.target), None)
    if place is None:
        raise _no_column("/dataset/target", dataset.target, columns)
    return place


def _task(target: Column, dataset: Uploaded, *, countable: bool) -> Task:
    """`countable` whole numbers are classes, however many."""
    if target.type == "text":
        raise Misreading(
            "/dataset/target",
            f'"{target.name}" is text of {target.distinct:,} different values: nothing can be learned to predict it, '
            "name another column",
        )
    has_classes = target.type in ("category", "boolean")
    if dataset.task == "auto":
        values = target.values if target.type == "integer" else None
        few = values is not None and (countable or len(values) <= MOST_CLASSES_BY_GUESS)
        return "classification" if has_classes or few else "regression"
    if dataset.task == "classification" and target.values is None:
        raise Misreading(
            "/dataset/task",
            f'"{target.name}" holds {target.type}s of too many values to be classes: take "regression"',
        )
    if dataset.task == "regression" and has_classes:
        raise Misreading("/dataset/task", f'"{target.name}" is a {target.type}: take "classification"')
    return dataset.task


def _classes(target: Column) -> tuple[str, ...]:
    assert target.values is not None
    if len(target.values) < 2:
        only = f'"{target.values[0].value}"' if target.values else "missing"
        raise Misreading(
            "/dataset/target", f'every row\'s "{target.name}" is {only}: there are no classes to tell apart'
        )
    return tuple(value.value for value in target.values)


def _features(description: Description, dataset: Uploaded, target: int) -> tuple[list[int], dict[str, str]]:
    """Places of the columns to learn from; and which are left out, and why."""
    columns = description.columns
    if dataset.features is not None:
        chosen = _chosen(columns, dataset.features, target)
        used = {target, *chosen}
        return chosen, {
            column.name: "not among the features" for place, column in enumerate(columns) if place not in used
        }
    left_out = {
        column.name: f"text of {column.distinct:,} different values"
        for place, column in enumerate(columns)
        if column.type == "text" and place != target
    }
    chosen = [place for place, column in enumerate(columns) if place != target and column.name not in left_out]
    if not chosen:
        raise Misreading("/dataset", f'beside "{columns[target].name}" there is no column to learn from')
    return chosen, left_out


def _chosen(columns: Sequence[Column], features: Sequence[str], target: int) -> list[int]:
    """Return the places of the columns that a spec names."""
    places = {column.name: place for place, column in enumerate(columns)}
    for index, name in enumerate(features):
        if name not in places:
            raise _no_column(f"/dataset/features/{index}", name, columns)
    chosen: dict[int, None] = {}
    for index, name in enumerate(features):
        pointer, place = f"/dataset/features/{index}", places[name]
        if place == target:
            raise Misreading(pointer, f'"{name}" is the target: nothing is learned from it')
        if place in chosen:
            raise Misreading(pointer, f'"{name}" stands twice')
        if columns[place].type == "text":
            raise Misreading(
                pointer,
                f'"{name}" is text of {columns[place].distinct:,} different values, from which no network '
                "here learns: leave it out",
            )
        chosen[place] = None
    return list(chosen)


def _no_column(pointer: str, name: str, columns: Sequence[Column]) -> Misreading:
    shown = ", ".join(f'"{column.name}"' for column in columns[:20])
    more = f" and {len(columns) - 20:,} more" if len(columns) > 20 else ""
    return Misreading(pointer, f'there is no column "{name}": there are {shown}{more}')


def _rows(description: Description, dataset: Uploaded, used: list[int]) -> int:
    """Rows that are read, given the places of the columns that are, the target first."""
    columns = description.columns
    missing = [columns[place] for place in used if columns[place].missing]
    if not missing:
        return description.rows
    target = columns[used[0]]
    if dataset.missing != "drop" and target.missing:
        raise Misreading(
            "/dataset/missing",
            f'{target.missing:,} rows have no "{target.name}", which is the target: "drop" leaves them out',
        )
    if dataset.missing == "refuse":
        told = ", ".join(f'"{column.name}" {column.missing:,}' for column in missing[:10])
        raise Misreading(
            "/dataset/missing",
            f'cells are empty: {told}; "impute" fills them from the training rows, "drop" leaves such rows out, '
            "or choose features without them",
        )
    if dataset.missing == "impute":
        return description.rows
    if description.gaps is None:
        raise Misreading("/dataset/missing", 'cells are missing in too many different ways to "drop": take "impute"')
    used_places = set(used)
    rows = description.rows - sum(gap.rows for gap in description.gaps if not used_places.isdisjoint(gap.columns))
    if rows < 2:
        raise Misreading("/dataset/missing", 'hardly a row is complete: take "impute", or fewer features')
    return rows


def _inputs(column: Column, sealed: int) -> int:
    """How many inputs a column becomes: of a category, one for each value that rows outside of the sealed ones have,
    and one for all others.
    """
    if column.type != "category":
        return 1
    assert column.values is not None
    return 1 + sum(value.last_sealed > sealed for value in column.values)


def _grid(description: Description, dataset: Uploaded) -> tuple[int, ...]:
    if dataset.features is not None:
        raise Misreading("/dataset/features", "images and series have no columns to choose from: leave it out")
    if len(description.grid) == 2:
        if dataset.image_size is not None or dataset.channels is not None:
            raise Misreading("/dataset/image_size", "these are series, not images: leave image_size and channels out")
        return description.grid
    channels, height, width = description.grid
    if dataset.channels is not None and channels not in (1, 3):
        raise Misreading("/dataset/channels", f"these images have {channels} channels, not 1 or 3: leave it out")
    if dataset.image_size is not None:
        if dataset.image_size > min(height, width):
            raise Misreading(
                "/dataset/image_size",
                f"the images have {height} × {width} pixels, and enlarging adds nothing: take {min(height, width)} "
                "or less",
            )
        height = width = dataset.image_size
    return dataset.channels or channels, height, width


def warnings(reading: Reading) -> Iterator[str]:
    """What the owner of a job may want to know about its data."""
    for name, reason in islice(reading.left_out.items(), 10):
        if reason.startswith("text"):
            yield f'"{name}" is left out: {reason}'
    if reading.classes and reading.target.values is not None:
        fewest = min(reading.target.values, key=lambda value: value.count)
        if fewest.count < 10:
            yield f'only {fewest.count} rows are of class "{fewest.value}"'
