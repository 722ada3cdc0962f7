"""How a spec reads an uploaded data set: which column is predicted, from which, and in how many inputs.

It goes by the description alone and never looks at the rows, so that it costs nothing to ask and is the same on every
host. What it counts of the values of a category spares the sealed rows, as everything does that reaches a network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Feature:
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
    names = [column.name for column in description.columns]
    if dataset.target is None:
        return likely_target(description.columns)
    if dataset.target not in names:
        raise Misreading("/dataset/target", f'there is no column "{dataset.target}": there are {_listed(names)}')
    return names.index(dataset.target)


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
    names = [column.name for column in columns]
    if dataset.features is not None:
        chosen = _places(names, dataset.features)
        used: set[int] = set()
        for index, place in enumerate(chosen):
            pointer = f"/dataset/features/{index}"
            if place == target:
                raise Misreading(pointer, f'"{names[place]}" is the target: nothing is learned from it')
            if place in used:
                raise Misreading(pointer, f'"{names[place]}" stands twice')
            if columns[place].type == "text":
                raise Misreading(
                    pointer,
                    f'"{names[place]}" is text of {columns[place].distinct:,} different values, from which no network '
                    "here learns: leave it out",
                )
            used.add(place)
        used.add(target)
        return chosen, {name: "not among the features" for place, name in enumerate(names) if place not in used}
    left_out = {
        column.name: f"text of {column.distinct:,} different values"
        for place, column in enumerate(columns)
        if column.type == "text" and place != target
    }
    chosen = [place for place, name in enumerate(names) if place != target and name not in left_out]
    if not chosen:
        raise Misreading("/dataset", f'beside "{names[target]}" there is no column to learn from')
    return chosen, left_out


def _places(names: list[str], features: Sequence[str]) -> list[int]:
    """Return the index of each feature among the column names, the first one where a name occurs twice."""
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    for index, name in enumerate(features):
        if name not in places:
            raise Misreading(f"/dataset/features/{index}", f'there is no column "{name}": there are {_listed(names)}')
    return [places[name] for name in features]


def _rows(description: Description, dataset: Uploaded, used: list[int]) -> int:
    """Rows that are read, given the places of the columns that are."""
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
    rows = description.rows - sum(gap.rows for gap in description.gaps if not set(gap.columns).isdisjoint(used))
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


def _listed(names: list[str]) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20:,} more"


def warnings(reading: Reading) -> Iterator[str]:
    """What the owner of a job may want to know about its data."""
    for name, reason in list(reading.left_out.items())[:10]:
        if reason.startswith("text"):
            yield f'"{name}" is left out: {reason}'
    if reading.classes and reading.target.values is not None:
        fewest = min(reading.target.values, key=lambda value: value.count)
        if fewest.count < 10:
            yield f'only {fewest.count} rows are of class "{fewest.value}"'
