"""Over HTTP: labs as they ship, each whole enough to be run from what is answered, and none with a result."""

import httpx2
import pytest

from models.lab_plans import LabPlan
from models.labs import shipped
from models.spec.job import JobSpec


def test_the_list_tells_every_lab_that_ships(lasting_api: httpx2.Client) -> None:
    page = lasting_api.get("/v1/labs").json()
    assert [one["name"] for one in page["data"]] == list(shipped())
    for one in page["data"]:
        lab = shipped()[one["name"]]
        assert (one["claim"], one["runs"], one["claims"]) == (lab.claim, lab.runs, len(lab.family))
    assert page["has_more"] is False


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", list(shipped()))
def test_what_is_told_of_a_lab_is_the_lab(lasting_api: httpx2.Client, name: str, quick: bool) -> None:
    lab = shipped()[name].as_quick() if quick else shipped()[name]
    plan = LabPlan.model_validate_json(lasting_api.get(f"/v1/labs/{name}", params={"quick": quick}).content)
    assert tuple(plan.specs) == lab.jobs
    assert plan.family == lab.family
    assert plan.to_open == lab.to_open
    assert plan.ranking == lab.compare
    assert plan.tag == lab.tag
    for choice, tuned in zip(plan.choices, lab.tuned, strict=True):
        assert choice.name == tuned.base.name
        assert [(one.told, one.trial, one.judged) for one in choice.contenders] == [
            tuple(one) for one in tuned.contenders
        ]


def test_the_jobs_of_a_lab_are_accepted_as_they_are_told(lasting_api: httpx2.Client) -> None:
    plan = lasting_api.get("/v1/labs/optimizers?quick=true").json()
    trials = [one["trial"] for choice in plan["choices"] for one in choice["contenders"]]
    for told in [*plan["specs"], *trials]:
        answer = lasting_api.post("/v1/jobs/validate", json=told)
        assert answer.status_code == 200, answer.text
        assert JobSpec.model_validate(answer.json()["spec"]) == JobSpec.model_validate(told)


def test_a_lab_that_is_known_is_not_told_again(lasting_api: httpx2.Client) -> None:
    first = lasting_api.get("/v1/labs/ensembles")
    again = lasting_api.get("/v1/labs/ensembles", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    quick = lasting_api.get("/v1/labs/ensembles?quick=true", headers={"If-None-Match": first.headers["ETag"]})
    assert quick.status_code == 200


def test_an_unknown_lab_is_answered_with_those_there_are(lasting_api: httpx2.Client) -> None:
    answer = lasting_api.get("/v1/labs/alchemy")
    assert answer.status_code == 404
    assert "optimizers" in answer.json()["detail"]


def test_a_key_that_may_only_read_sees_labs(lasting_api: httpx2.Client) -> None:
    key = lasting_api.post("/v1/keys", json={"owner": "reader-of-labs", "scope": "read"}).json()["key"]
    answer = lasting_api.get("/v1/labs", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200
