"""From a spec as it was sent to one that can be stored: its data set looked up, its work counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from api.ceilings import demand_within
from api.errors import Refusal, invalid, several
from api.pointers import body_errors
from models import answers
from models.reading import Reading, read, warnings
from models.settings import Settings
from models.spec.datasets import BuiltIn
from models.spec.evaluation import Evaluation
from models.spec.job import JobSpec
from models.spec.plan import Plan, plan
from models.spec.uploads import Uploaded
from models.stored import Description
from models.tables import Dataset

ORIGINALS = {
    "mnist": "the four original files, train-images-idx3-ubyte.gz and so on, together",
    "fashion_mnist": "the four original files, train-images-idx3-ubyte.gz and so on, together",
    "cifar10": "the original cifar-10-binary.tar.gz",
    "cifar100": "the original cifar-100-binary.tar.gz",
}
"""What makes a published data set known to an installation."""


@dataclass(frozen=True)
class Settled:
    """A spec that says by itself what its data are."""

    spec: JobSpec
    dataset: Dataset | None = None
    """The uploaded data set that it reads."""
    description: Description | None = None
    source: Uploaded | None = None
    """How that data set is read: the spec's own choice, or the defaults for a published one."""

    @cached_property
    def reading(self) -> Reading | None:
        # On demand: a sweep settles up to 1,000 specs and needs no reading, which has one object per column.
        if self.description is None or self.source is None:
            return None
        return read(self.description, self.source, self.spec.evaluation)

    @property
    def dataset_id(self) -> str | None:
        return self.dataset.id if self.dataset else None

    def hold(self, session: Session) -> None:
        """Keep the data set from being deleted until the session's transaction has stored a job that needs it.

        Raises:
            Refusal: if it is gone.

        """
        if self.dataset is None:
            return
        found = select(Dataset.id).where(Dataset.id == self.dataset.id).with_for_update(read=True, key_share=True)
        if session.scalar(found) is None:
            raise _no_such_dataset(self.dataset.id)

    def answer(self) -> answers.ReadDataset | None:
        if self.dataset is None or self.reading is None or self.description is None:
            return None
        reading = self.reading
        return answers.ReadDataset(
            id=self.dataset.id,
            name=self.dataset.name,
            task=reading.task,
            target=reading.target.name,
            classes=list(reading.classes),
            features=[answers.ReadColumn(name=f.name, type=f.type, inputs=f.inputs) for f in reading.features],
            left_out=reading.left_out,
            grid=list(reading.grid),
            rows=reading.rows,
            rows_left_out=self.description.rows - reading.rows,
        )

    def warnings(self) -> Sequence[str]:
        return list(warnings(self.reading)) if self.reading else ()


class Planned(NamedTuple):
    """A spec that can be stored."""

    settled: Settled
    plan: Plan


class Catalogue:
    """The uploaded data sets, looked up once each while a request is served."""

    def __init__(self, session: Session, owner: str) -> None:
        """Those of one owner: an admin who sees everybody's still means their own."""
        self._session = session
        self._owner = owner
        self._found: dict[tuple[str, str], tuple[Dataset, Description]] = {}
        self._filled: dict[tuple[Uploaded, Evaluation], Uploaded] = {}

    def settle(self, spec: JobSpec) -> Settled:
        """Fill in what an uploaded data set is.

        Raises:
            Refusal: if there is none, or the spec does not fit it.
            PlanError: if it cannot be read as the spec asks.

        """
        asked = spec.dataset
        if isinstance(asked, BuiltIn):
            return Settled(spec)
        dataset, description = self._find(asked.id if isinstance(asked, Uploaded) else "", asked.kind)
        if not isinstance(asked, Uploaded):
            default = Uploaded(id=dataset.id, standardize=asked.standardize)
            return Settled(spec, dataset, description, default)
        filled = self._fill_in(asked, spec.evaluation, dataset, description)
        # The parts are valid already, and are not validated again: only their combination with the data is.
        raw = dict(spec) | {"dataset": filled}
        try:
            return Settled(JobSpec.model_validate(raw), dataset, description, filled)
        except ValidationError as error:
            raise several(body_errors(error.errors(include_url=False), raw)) from None

    def _fill_in(self, asked: Uploaded, evaluation: Evaluation, dataset: Dataset, description: Description) -> Uploaded:
        """Return the data set of a spec with the fields that the service fills in."""
        key = asked, evaluation
        if key not in self._filled:
            reading = read(description, asked, evaluation)
            found = {"id": dataset.id, "target": reading.target.name, "found": reading.found}
            self._filled[key] = asked.model_copy(update=found)
        return self._filled[key]

    def _find(self, name: str, kind: str) -> tuple[Dataset, Description]:
        if (name, kind) not in self._found:
            condition = Dataset.known == kind if kind in ORIGINALS else (Dataset.id == name) | (Dataset.name == name)
            statement = (
                select(Dataset).options(undefer(Dataset.description)).where(Dataset.owner == self._owner, condition)
            )
            dataset = self._session.scalars(statement.order_by(Dataset.created_at, Dataset.id).limit(1)).first()
            if dataset is None:
                raise _not_uploaded(kind) if kind in ORIGINALS else _no_such_dataset(name)
            self._found[name, kind] = dataset, Description.model_validate(dataset.description)
        return self._found[name, kind]


def _not_uploaded(kind: str) -> Refusal:
    detail = f'nobody has uploaded "{kind}" to this service yet: upload {ORIGINALS[kind]} (POST /v1/datasets)'
    return invalid("/dataset", "not_uploaded", detail)


def _no_such_dataset(name: str) -> Refusal:
    return invalid("/dataset/id", "no_such_dataset", f'there is no data set "{name}": GET /v1/datasets lists them')


def checked_plan(spec: JobSpec, settings: Settings) -> Plan:
    """Count what a spec asks for.

    Raises:
        PlanError: if it asks for more than any installation allows.
        Refusal: if it asks for more than this one allows.

    """
    counted = plan(spec)
    demand_within(spec, counted, settings)
    return counted
