import pytest

from descent import Client
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
