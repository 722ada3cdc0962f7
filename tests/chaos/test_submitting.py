"""An API that dies in the midst of a submission: what it accepted is there once, and what it did not is not."""

from uuid import uuid4

import httpx2
import pytest

from descent import Client
from tests.chaos.commit_points import POINTS, token
from tests.chaos.conftest import SPEC
from tests.chaos.stack import Stack
from tests.servers import http_client

BODY = SPEC | {"budget": {"steps": 200}}


def jobs_named(client: Client, name: str) -> list[str]:
    return [job.id for job in client.jobs() if job.name == name]


@pytest.mark.parametrize("point", POINTS)
def test_a_submission_that_was_cut_off_takes_effect_once(stack: Stack, client: Client, point: str) -> None:
    name, key = f"cut-{uuid4()}", {"Idempotency-Key": str(uuid4())}
    token(stack.folder, point).touch()
    with http_client(stack.url, timeout=10) as http:
        with pytest.raises(httpx2.TransportError):
            http.post("/v1/jobs", json=BODY | {"name": name}, headers=key)
        assert not token(stack.folder, point).exists(), "it died where it was told to"
        stack.wait_for_api()
        before = jobs_named(client, name)
        assert len(before) == (point == "after_commit")
        answers = [http.post("/v1/jobs", json=BODY | {"name": name}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert jobs_named(client, name) == [answers[0].json()["id"]]
    assert before in ([], jobs_named(client, name))
    assert client.wait(answers[0].json()["id"], timeout=60).status == "succeeded"
