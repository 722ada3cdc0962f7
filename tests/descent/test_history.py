import sys

import numpy as np
import pytest

from descent import Client
from descent.errors import DescentError
from descent.history import History, Series
from models.answers import MetricsPage
from tests.descent.conftest import Answer, Request, Service, make_metrics

METRICS = "/v1/runs/run_1/metrics"


def afters(service: Service) -> list[str | None]:
    return [dict(request.parameters).get("after") for request in service.requests]


def test_following_hands_on_every_point_once_and_ends_with_the_run(service: Service, client: Client) -> None:
    service.on(
        "GET",
        METRICS,
        Answer(body=make_metrics("1-0", validation_loss={0: 1.0})),
        Answer(body=make_metrics("1-0")),
        Answer(hang_up=True),
        Answer(body=make_metrics("1-1", validation_loss={1: 0.5})),
        Answer(body=make_metrics("1-2", validation_loss={2: None}, end=True)),
    )
    pages = list(client.metrics("run_1"))
    history = History()
    for page in pages:
        history.take(page)
    assert len(pages) == 3
    assert history["validation_loss"] == Series([0, 1, 2], [1.0, 0.5, None])
    assert afters(service) == [None, "1-0", "1-0", "1-0", "1-1"]


def test_following_waits_on_the_service_instead_of_asking_all_the_time(service: Service, client: Client) -> None:
    service.on("GET", METRICS, Answer(body=make_metrics("1-0", end=True)))
    list(client.metrics("run_1", ["train_loss"]))
    parameters = dict(service.requests[0].parameters)
    assert parameters["name"] == "train_loss"
    assert 0 < float(parameters["wait"]) <= 20


def test_a_rollback_takes_back_the_points_after_its_step() -> None:
    history = History()
    first = make_metrics("1-0", train_loss={1: 4.0, 2: 3.0, 3: 2.0}, validation_loss={2: 9.0})
    again = make_metrics("2-0", rollback=2, train_loss={3: 2.5, 4: 1.0})
    for page in (first, again):
        history.take(MetricsPage.model_validate(page))
    assert history["train_loss"] == Series([1, 2, 3, 4], [4.0, 3.0, 2.5, 1.0])
    assert history["validation_loss"] == Series([2], [9.0])


def test_a_rollback_to_the_beginning_leaves_nothing() -> None:
    history = History()
    history.take(MetricsPage.model_validate(make_metrics("1-0", train_loss={1: 4.0})))
    history.take(MetricsPage.model_validate(make_metrics("2-0", rollback=0)))
    assert history["train_loss"].last is None


def test_a_rollback_without_points_is_handed_on(service: Service, client: Client) -> None:
    service.on("GET", METRICS, Answer(body=make_metrics("2-0", rollback=7)), Answer(body=make_metrics("2-1", end=True)))
    first, _ = client.metrics("run_1")
    assert first.rollback is not None
    assert first.rollback.from_step == 7


@pytest.mark.parametrize("end", [True, False])
def test_the_history_of_a_run_is_read_to_where_it_stands(service: Service, client: Client, end: bool) -> None:
    def page(request: Request) -> Answer:
        match dict(request.parameters).get("after"):
            case None:
                return Answer(body=make_metrics("1-0", train_loss={1: 2.0}))
            case "1-0":
                return Answer(body=make_metrics("1-1", train_loss={2: 1.0}, end=end))
            case _:
                return Answer(body=make_metrics("1-1"))

    service.on("GET", METRICS, page)
    assert client.history("run_1")["train_loss"] == Series([1, 2], [2.0, 1.0])
    assert all("wait" not in dict(request.parameters) for request in service.requests)


# ── as others keep tables ────────────────────────────────────────────────────────────────────────


def recorded() -> History:
    history = History()
    history.take(
        MetricsPage.model_validate(
            make_metrics("1-0", train_loss={1: 0.5, 2: 0.25, 4: None}, validation_loss={2: 0.75})
        )
    )
    return history


def test_a_history_becomes_arrays_with_nan_for_what_was_not_finite() -> None:
    steps, values = recorded().to_numpy()["train_loss"]
    assert [steps.dtype.name, values.dtype.name] == ["int64", "float64"]
    np.testing.assert_array_equal(steps, [1, 2, 4])
    np.testing.assert_array_equal(values, [0.5, 0.25, np.nan])


def test_a_history_becomes_a_table_of_pandas_with_a_row_a_step() -> None:
    table = recorded().to_pandas()
    assert list(table.index) == [1, 2, 4]
    assert table.index.name == "step"
    np.testing.assert_array_equal(table["train_loss"], [0.5, 0.25, np.nan])
    np.testing.assert_array_equal(table["validation_loss"], [np.nan, 0.75, np.nan])
    assert History().to_pandas().empty


def test_a_history_becomes_a_table_of_polars_with_nulls() -> None:
    table = recorded().to_polars()
    assert table.columns == ["step", "train_loss", "validation_loss"]
    assert table.rows() == [(1, 0.5, None), (2, 0.25, 0.75), (4, None, None)]
    assert History().to_polars().columns == ["step"]


def test_a_library_that_is_missing_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(DescentError, match="pip install polars"):
        recorded().to_polars()
