import threading
from datetime import timedelta

import httpx2

from api.responses import forget_old_answers
from models.database import Database
from models.status import RunStatus
from models.tables import IdempotentAnswer, now
from tests.api.fake_worker import FakeWorker
from tests.api.specs import SPEC, spec

KEY = {"Idempotency-Key": "a-key"}
SWEEP = {"name": "rates", "base": SPEC, "grid": {"optimizer.learning_rate": [0.1, 0.2]}}


def number_of_jobs(api: httpx2.Client) -> int:
    return len(api.get("/v1/jobs").json()["data"])


def test_the_same_key_and_body_bring_the_same_answer_and_one_job(api: httpx2.Client) -> None:
    first = api.post("/v1/jobs", json=SPEC, headers=KEY)
    again = api.post("/v1/jobs", json=SPEC, headers=KEY)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert number_of_jobs(api) == 1


def test_a_key_belongs_to_its_body_and_its_route(api: httpx2.Client) -> None:
    api.post("/v1/jobs", json=SPEC, headers=KEY)
    other = api.post("/v1/jobs", json=spec(seeds=2), headers=KEY)
    assert (other.status_code, other.json()["type"]) == (422, "urn:descent:problem:idempotency_key_reused")
    assert api.post("/v1/sweeps", json=SWEEP, headers=KEY).status_code == 202
    assert api.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "k" * 201}).status_code == 422


def test_a_refused_request_does_not_use_up_its_key(api: httpx2.Client) -> None:
    assert api.post("/v1/jobs", json=spec(optimizer="adamm"), headers=KEY).status_code == 422
    assert api.post("/v1/jobs", json=SPEC, headers=KEY).status_code == 202


def test_a_sweep_is_submitted_once_per_key(api: httpx2.Client) -> None:
    first = api.post("/v1/sweeps", json=SWEEP, headers=KEY)
    assert api.post("/v1/sweeps", json=SWEEP, headers=KEY).json() == first.json()
    assert number_of_jobs(api) == 2


def test_a_returned_duplicate_is_repeated_as_it_was(api: httpx2.Client, worker: FakeWorker) -> None:
    api.post("/v1/jobs", json=SPEC)
    worker.claim()[0].finish(RunStatus.SUCCEEDED)
    answers = [api.post("/v1/jobs?on_duplicate=return", json=SPEC, headers=KEY) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()


def test_many_at_once_with_one_key_have_one_effect(api: httpx2.Client) -> None:
    barrier = threading.Barrier(8)
    answers: list[httpx2.Response] = []

    def post() -> None:
        barrier.wait()
        answers.append(api.post("/v1/jobs", json=SPEC, headers=KEY))

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [202] * 8
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert number_of_jobs(api) == 1


def test_many_at_once_without_a_key_have_as_many_effects(api: httpx2.Client) -> None:
    threads = [threading.Thread(target=api.post, args=("/v1/jobs",), kwargs={"json": SPEC}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert number_of_jobs(api) == 8


def test_answers_are_forgotten_after_a_day(api: httpx2.Client, database: Database) -> None:
    api.post("/v1/jobs", json=SPEC, headers=KEY)
    with database.write() as session:
        session.query(IdempotentAnswer).update({"created_at": now() - timedelta(hours=25)})
    forget_old_answers(database)
    assert "Idempotency-Replayed" not in api.post("/v1/jobs", json=SPEC, headers=KEY).headers
