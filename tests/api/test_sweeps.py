from typing import Any

import httpx2
import pytest

from models.answers import Experiment, Page, Sweep, SweepSummary
from models.status import RunStatus
from tests.api.fake_worker import FakeWorker
from tests.api.specs import SPEC, spec


def sweep(**changes: Any) -> dict[str, Any]:
    return {"name": "rates", "base": SPEC, "grid": {"optimizer.learning_rate": [0.1, 0.01]}} | changes


def submit(api: httpx2.Client, **changes: Any) -> Sweep:
    answer = api.post("/v1/sweeps", json=sweep(**changes))
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/v1/sweeps/{answer.json()['id']}"
    return Sweep.model_validate(answer.json())


def test_a_sweep_becomes_one_job_per_combination(api: httpx2.Client) -> None:
    grid = {"optimizer.learning_rate": [0.1, 0.01], "batch_size": [32, "full"]}
    made = submit(api, grid=grid, seeds=3)
    assert [job.name for job in made.jobs] == [
        "rates · learning_rate=0.1, batch_size=32",
        "rates · learning_rate=0.1, batch_size=full",
        "rates · learning_rate=0.01, batch_size=32",
        "rates · learning_rate=0.01, batch_size=full",
    ]
    assert {job.experiment for job in made.jobs} == {"rates"}
    assert {job.sweep_id for job in made.jobs} == {made.id}
    assert [job.spec.optimizer.learning_rate for job in made.jobs] == [0.1, 0.1, 0.01, 0.01]
    assert made.runs_by_status == {RunStatus.QUEUED: 12}
    assert Sweep.model_validate(api.get(f"/v1/sweeps/{made.id}").json()) == made


def test_paths_lead_into_lists_and_through_bare_names(api: httpx2.Client) -> None:
    base = spec(regularizers=["l2"], experiment="mine")
    made = submit(api, base=base, grid={"regularizers.0.weight": [0.1, 0.2], "evaluation.validation": [0.3]}, seeds=[7])
    assert [job.spec.regularizers[0].model_dump()["weight"] for job in made.jobs] == [0.1, 0.2]
    assert {job.spec.evaluation.model_dump()["validation"] for job in made.jobs} == {0.3}
    assert {job.experiment for job in made.jobs} == {"mine"}


def test_whole_components_can_be_swept_and_equal_last_parts_are_told_apart(api: httpx2.Client) -> None:
    made = submit(api, grid={"optimizer": ["adam", {"kind": "sgd"}]})
    assert [job.spec.optimizer.kind for job in made.jobs] == ["adam", "sgd"]
    assert made.jobs[0].name == "rates · optimizer=adam"
    both = submit(api, grid={"optimizer.kind": ["adam"], "network.kind": ["linear"]})
    assert both.jobs[0].name == "rates · optimizer.kind=adam, network.kind=linear"


def test_paths_into_swept_values_change_one_combination_each(api: httpx2.Client) -> None:
    grid = {
        "regularizers": [["l2"], [{"kind": "l1", "weight": 0.5}]],
        "regularizers.0.weight": [0.1, 0.2],
        "network": [{"kind": "mlp", "hidden": [8, 8]}],
        "network.hidden.1": [4, 2],
    }
    made = submit(api, grid=grid)
    found = [(job.spec.regularizers[0].model_dump(), job.spec.network.model_dump()["hidden"]) for job in made.jobs]
    assert [(one["kind"], one["weight"], hidden) for one, hidden in found] == [
        (kind, weight, (8, last)) for kind in ("l2", "l1") for weight in (0.1, 0.2) for last in (4, 2)
    ]
    assert made.grid == grid, "what was sent is stored as it was"


@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        ({"grid": {"optimizer.learning_rate": [0.1, -1]}}, "/grid/optimizer.learning_rate/1", "greater than 0"),
        ({"grid": {"optimizer": ["adam", "adamm"]}}, "/grid/optimizer/1", 'did you mean "adam"'),
        ({"grid": {"optimizer.momentum": [0.9]}}, "/grid/optimizer.momentum/0", "no known field of adam"),
        ({"grid": {"network.hidden": [[8192, 8192, 8192]]}}, "/grid/network.hidden/0", "parameters"),
        ({"grid": {"batch_size": [16, 601]}}, "/grid/batch_size/1", "training rows"),
        ({"grid": {"loss": ["cross_entropy"]}}, "/grid", "needs classes"),
        ({"grid": {"regularizers.0.weight": [1]}}, "/grid/regularizers.0.weight/0", "tuple"),
        ({"grid": {"record.snapshots.0": [1]}, "base": spec(record={"snapshots": []})}, "/grid/record.snapshots.0", ""),
        ({"grid": {"batch_size.x": [1]}, "base": spec(batch_size=3)}, "/grid/batch_size.x", "no object"),
        ({"grid": {"batch_size": []}}, "/grid/batch_size", "at least 1"),
        ({"grid": {".".join("a" * 20): [1]}}, f"/grid/{'.'.join('a' * 20)}", "nested deeper than 16"),
        ({"grid": {"a/b": [1]}}, "/grid/a~1b/0", "no such field"),
        ({"base": {"dataset": "sine"}, "grid": {}}, "/base/optimizer", "required"),
        ({"base": "sine"}, "/base", ""),
        ({"grid": {"seeds": [1000] * 11}}, "/grid", "10,000 runs"),
        ({"grid": {"batch_size": list(range(1, 40)), "priority": list(range(40))}}, "/grid", "1,560 combinations"),
        ({"seeds": 0}, "/seeds", ""),
        ({"colour": 1}, "/colour", "no such field"),
    ],
)
def test_a_wrong_sweep_is_refused_at_the_grids_entry(
    lasting_api: httpx2.Client, changes: dict[str, Any], pointer: str, words: str
) -> None:
    before = lasting_api.get("/v1/sweeps").json()
    answer = lasting_api.post("/v1/sweeps", json=sweep(**changes))
    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert words in answer.json()["errors"][0]["detail"]
    assert lasting_api.get("/v1/sweeps").json() == before


def test_sweeps_are_listed_with_their_jobs_counted(api: httpx2.Client) -> None:
    ids = [submit(api, name=name).id for name in ("a", "b", "c")]
    first = Page[SweepSummary].model_validate(api.get("/v1/sweeps", params={"limit": 2}).json())
    assert [(found.id, found.jobs) for found in first.data] == [(ids[2], 2), (ids[1], 2)]
    assert first.data[0].runs_by_status == {RunStatus.QUEUED: 2}
    rest = api.get("/v1/sweeps", params={"after": first.next_after}).json()
    assert [found["id"] for found in rest["data"]] == [ids[0]]


def test_a_cancelled_sweep_cancels_what_has_not_ended(api: httpx2.Client, worker: FakeWorker) -> None:
    made = submit(api)
    worker.claim(limit=1)[0].finish()
    answer = api.post(f"/v1/sweeps/{made.id}/cancel")
    assert (answer.status_code, answer.json()["runs_by_status"]) == (202, {"succeeded": 1, "cancelled": 1})
    assert api.post(f"/v1/sweeps/{made.id}/cancel").status_code == 409


def test_experiments_are_the_names_that_jobs_share(api: httpx2.Client) -> None:
    submit(api, name="first question")
    submit(api, name="b/c d?")
    api.post("/v1/jobs", json=SPEC)
    first = Page[Experiment].model_validate(api.get("/v1/experiments", params={"limit": 1}).json())
    assert [found.name for found in first.data] == ["b/c d?"]
    rest = Page[Experiment].model_validate(api.get("/v1/experiments", params={"after": first.next_after}).json())
    assert [(found.name, found.jobs) for found in rest.data] == [("first question", 2)]
    assert rest.data[0].runs_by_status == {RunStatus.QUEUED: 2}
    one = Experiment.model_validate(api.get("/v1/experiments/b/c%20d%3F").json())
    assert one == first.data[0]
