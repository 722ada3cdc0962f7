"""From a spec as it was sent to one that can be stored: its data set looked up, its work counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from api.ceilings import demand_within
from api.errors import Refusal, invalid
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
    reading: Reading | None = None

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
        self._last_reading: tuple[Description, Uploaded, Evaluation, Reading] | None = None

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
            return Settled(spec, dataset, description, self._read(description, default, spec.evaluation))
        reading = self._read(description, asked, spec.evaluation)
        filled = asked.model_copy(update={"id": dataset.id, "target": reading.target.name, "found": reading.found})
        try:
            return Settled(spec.with_dataset(filled), dataset, description, reading)
        except ValueError as error:
            raise invalid("", "value_error", str(error)) from None

    def _read(self, description: Description, asked: Uploaded, evaluation: Evaluation) -> Reading:
        """Read a data set, or return the last reading if it is the same: it mostly is for the specs of a sweep."""
        if self._last_reading is None or self._last_reading[:3] != (description, asked, evaluation):
            self._last_reading = description, asked, evaluation, read(description, asked, evaluation)
        return self._last_reading[3]

    def _find(self, name: str, kind: str) -> tuple[Dataset, Description]:
        if (name, kind) not in self._found:
            condition = Dataset.known == kind if kind in ORIGINALS else (Dataset.id == name) | (Dataset.name == name)
            # As text: pydantic parses it in half the time that it takes by way of Python objects.
            statement = select(Dataset, cast(Dataset.description, Text)).where(Dataset.owner == self._owner, condition)
            row = self._session.execute(statement.order_by(Dataset.created_at, Dataset.id).limit(1)).first()
            if row is None:
                raise _not_uploaded(kind) if kind in ORIGINALS else _no_such_dataset(name)
            self._found[name, kind] = row[0], Description.model_validate_json(row[1])
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
