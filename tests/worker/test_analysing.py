"""What a worker does with analyses when something is wrong: nothing is lost, and nobody else pays for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from models import analysing, lifecycle
from models.database import Database
from models.settings import Settings
from models.status import RunStatus
from models.storage import Storage
from models.tables import WEIGHTS, Analysis
from tests.models.transactions import claim, commit, submit
from worker import artifacts
from worker.analysing import Analyst
from worker.training.boundary import Ending
from worker.training.loop import train
from worker.training.randomness import Member

SEEDS = 3


class _Endings:
    """A reporter that keeps how runs end."""

    def __init__(self) -> None:
        self.by_row: dict[int, Ending] = {}

    def mode(self, *_: object) -> None: ...
    def points(self, *_: object) -> None: ...
    def snapshot(self, *_: object) -> None: ...
    def saved(self, *_: object) -> None: ...
    def ended(self, row: int, ending: Ending) -> None:
        self.by_row[row] = ending


@pytest.fixture
def database(sqlite_database_url: str, redis_url: str) -> Iterator[Database]:
    database = Database(Settings(database_url=sqlite_database_url, metrics_url=redis_url).database())
    yield database
    database.dispose()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "storage"))


@pytest.fixture
def analyst(database: Database, storage: Storage) -> Analyst:
    return Analyst(database, storage, Settings(), "worker_1", 1 << 30, lambda _: 1, lambda: False)


@pytest.fixture
def run_ids(database: Database, storage: Storage) -> list[str]:
    """Three runs that were trained, with their weights in storage."""
    submit(database, seeds=SEEDS, network={"kind": "mlp", "hidden": [4]})
    claimed = claim(database).runs
    endings = _Endings()
    train([run.spec for run in claimed], [Member(run.seed) for run in claimed], endings, dict)
    for row, run in enumerate(claimed):
        weights = endings.by_row[row].weights
        assert weights is not None
        with database.write() as session:
            ended = {"step": 100, "train_seconds": 1.0, "summary": {}}
            lifecycle.finish(session, run.id, run.attempt, RunStatus.SUCCEEDED, **ended)  # type: ignore[arg-type]
            session.add(artifacts.store(storage, run.id, run.attempt, WEIGHTS, weights))
    return [run.id for run in claimed]


def ask(database: Database, run_ids: list[str], kind: str = "hessian") -> None:
    commit(database, analysing.ask, run_ids, {"kind": kind, "rows": 64}, 0)


def found(database: Database) -> list[Analysis]:
    with database.read() as session:
        return list(session.scalars(select(Analysis).order_by(Analysis.run_id)))


def analyse(analyst: Analyst) -> bool:
    return analyst.analyse_next(lambda _: None)


def test_what_waits_is_measured_and_then_nothing_waits(
    analyst: Analyst, database: Database, run_ids: list[str]
) -> None:
    ask(database, run_ids)
    assert analyse(analyst)
    assert [one.status for one in found(database)] == [RunStatus.SUCCEEDED] * SEEDS
    assert len({one.values["trace"] for one in found(database) if one.values}) == SEEDS
    assert not analyse(analyst)


def test_a_network_that_cannot_be_measured_fails_alone(
    analyst: Analyst, database: Database, run_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = analyst._measure

    def measure(claim: object, analyses: list[analysing.ClaimedAnalysis], weights: object) -> object:
        if any(one.run_id == run_ids[1] for one in analyses):
            raise ArithmeticError("no eigenvalue of NaN")
        return whole(claim, analyses, weights)  # type: ignore[arg-type]

    monkeypatch.setattr(analyst, "_measure", measure)
    ask(database, run_ids)
    assert analyse(analyst)
    assert [one.status for one in found(database)] == [RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.SUCCEEDED]
    assert found(database)[1].status_detail == "ArithmeticError: no eigenvalue of NaN"


def test_while_sql_is_away_nothing_fails_and_what_was_claimed_returns(
    analyst: Analyst, database: Database, run_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: object) -> object:
        raise OperationalError("SELECT", {}, Exception("away"))

    ask(database, run_ids)
    with monkeypatch.context() as patched:
        patched.setattr(analyst, "_weights", away)
        assert analyse(analyst)
    assert [one.status for one in found(database)] == [RunStatus.QUEUED] * SEEDS
    assert analyse(analyst)
    assert [one.status for one in found(database)] == [RunStatus.SUCCEEDED] * SEEDS


def test_what_makes_no_sense_of_the_data_says_why(analyst: Analyst, database: Database, run_ids: list[str]) -> None:
    ask(database, run_ids, "calibration")
    assert analyse(analyst)
    assert {one.status for one in found(database)} == {RunStatus.FAILED}
    assert "class probabilities" in (found(database)[0].status_detail or "")
