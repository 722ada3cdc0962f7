from typing import Any

import httpx2
import pytest

from models import tables
from models.answers import Experiment, Job, Page, Sweep
from models.database import Database
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


def listed(api: httpx2.Client, **parameters: Any) -> Page[Job]:
    answer = api.get("/v1/jobs", params=parameters)
    assert answer.status_code == 200, answer.text
    return Page[Job].model_validate(answer.json())


def jobs_of(api: httpx2.Client, made: Sweep) -> list[Job]:
    """The jobs of a sweep, in the order of its grid."""
    jobs = listed(api, sweep=made.id, sort="oldest", limit=200).data
    assert len(jobs) == made.jobs
    return jobs


def test_a_sweep_becomes_one_job_per_combination(api: httpx2.Client) -> None:
    grid = {"optimizer.learning_rate": [0.1, 0.01], "batch_size": [32, "full"]}
    made = submit(api, grid=grid, seeds=3)
    jobs = jobs_of(api, made)
    assert [job.name for job in jobs] == [
        "rates · learning_rate=0.1, batch_size=32",
        "rates · learning_rate=0.1, batch_size=full",
        "rates · learning_rate=0.01, batch_size=32",
        "rates · learning_rate=0.01, batch_size=full",
    ]
    assert {job.experiment for job in jobs} == {"rates"}
    assert {job.sweep_id for job in jobs} == {made.id}
    assert [job.spec.optimizer.learning_rate for job in jobs] == [0.1, 0.1, 0.01, 0.01]
    assert made.jobs == 4
    assert made.runs_by_status == {RunStatus.QUEUED: 12}
    assert Sweep.model_validate(api.get(f"/v1/sweeps/{made.id}").json()) == made


def test_paths_lead_into_lists_and_through_bare_names(api: httpx2.Client) -> None:
    base = spec(regularizers=["l2"], experiment="mine")
    made = submit(api, base=base, grid={"regularizers.0.weight": [0.1, 0.2], "evaluation.validation": [0.3]}, seeds=[7])
    jobs = jobs_of(api, made)
    assert [job.spec.regularizers[0].model_dump()["weight"] for job in jobs] == [0.1, 0.2]
    assert {job.spec.evaluation.model_dump()["validation"] for job in jobs} == {0.3}
    assert {job.experiment for job in jobs} == {"mine"}


def test_a_path_into_a_value_of_the_grid_changes_neither_the_grid_nor_the_base(
    api: httpx2.Client, database: Database
) -> None:
    grid = {"optimizer": [{"kind": "adam"}, "sgd"], "optimizer.learning_rate": [0.1], "evaluation.test": [0.1]}
    made = submit(api, base=spec(evaluation={"kind": "holdout"}), grid=grid)
    assert made.grid == grid
    with database.read() as session:
        assert session.get_one(tables.Sweep, made.id).base == spec(evaluation={"kind": "holdout"})
    jobs = jobs_of(api, made)
    assert [job.name for job in jobs] == [
        'rates · optimizer={"kind": "adam"}, learning_rate=0.1, test=0.1',
        "rates · optimizer=sgd, learning_rate=0.1, test=0.1",
    ]
    assert {job.spec.optimizer.learning_rate for job in jobs} == {0.1}


def test_whole_components_can_be_swept_and_equal_last_parts_are_told_apart(api: httpx2.Client) -> None:
    made = submit(api, grid={"optimizer": ["adam", {"kind": "sgd"}]})
    jobs = jobs_of(api, made)
    assert [job.spec.optimizer.kind for job in jobs] == ["adam", "sgd"]
    assert jobs[0].name == "rates · optimizer=adam"
    both = submit(api, grid={"optimizer.kind": ["adam"], "network.kind": ["linear"]})
    assert jobs_of(api, both)[0].name == "rates · optimizer.kind=adam, network.kind=linear"


def test_paths_into_swept_values_change_one_combination_each(api: httpx2.Client) -> None:
    grid = {
        "regularizers": [["l2"], [{"kind": "l1", "weight": 0.5}]],
        "regularizers.0.weight": [0.1, 0.2],
        "network": [{"kind": "mlp", "hidden": [8, 8]}],
        "network.hidden.1": [4, 2],
    }
    made = submit(api, grid=grid)
    found = [
        (job.spec.regularizers[0].model_dump(), job.spec.network.model_dump()["hidden"]) for job in jobs_of(api, made)
    ]
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
    first = Page[Sweep].model_validate(api.get("/v1/sweeps", params={"limit": 2}).json())
    assert [(found.id, found.jobs) for found in first.data] == [(ids[2], 2), (ids[1], 2)]
    assert first.data[0].runs_by_status == {RunStatus.QUEUED: 2}
    rest = api.get("/v1/sweeps", params={"after": first.next_after}).json()
    assert [found["id"] for found in rest["data"]] == [ids[0]]


def test_every_answer_about_a_sweep_of_many_jobs_is_small(api: httpx2.Client) -> None:
    rates = [step / 1_000 for step in range(1, 151)]
    body = sweep(base=spec(notes="n" * 2_000), grid={"optimizer.learning_rate": rates})
    key = {"Idempotency-Key": "many"}
    first = api.post("/v1/sweeps", json=body, headers=key)
    place = f"/v1/sweeps/{first.json()['id']}"
    sweeps = [first, api.post("/v1/sweeps", json=body, headers=key), api.get(place)]
    sweeps += [api.post(f"{place}/{action}") for action in ("pause", "resume", "cancel")]
    for answer in sweeps:
        assert (answer.is_success, answer.json()["jobs"]) == (True, 150), answer.text
        assert len(answer.content) < 2_500, "little more than the grid"
    assert [list(answer.json()["runs_by_status"].items()) for answer in sweeps] == [
        [(status, 150)] for status in ("queued", "queued", "queued", "paused", "queued", "cancelled")
    ]


def test_jobs_are_listed_by_their_sweep_page_by_page(api: httpx2.Client) -> None:
    made = submit(api, grid={"batch_size": [8, 16, 24, 32, 40]})
    submit(api)
    api.post("/v1/jobs", json=SPEC)
    first = listed(api, sweep=made.id, sort="oldest", limit=3)
    rest = listed(api, sweep=made.id, sort="oldest", limit=3, after=first.next_after)
    assert [job.spec.batch_size for job in (*first.data, *rest.data)] == [8, 16, 24, 32, 40]
    assert (first.has_more, rest.has_more) == (True, False)
    newest = listed(api, sweep=made.id)
    assert [job.spec.batch_size for job in newest.data] == [40, 32, 24, 16, 8]
    chosen = first.data[1]
    assert [job.id for job in listed(api, sweep=made.id, spec_hash=chosen.spec_hash).data] == [chosen.id]
    assert listed(api, sweep=made.id, status="running").data == []
    for unknown in (made.id[:-1], "sweep_0", ""):
        assert listed(api, sweep=unknown).data == []
    assert api.get("/v1/jobs", params={"sweep": "s" * 41}).status_code == 422


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


def test_a_sweep_of_large_specs_is_refused_before_any_of_them_is_stored(api: httpx2.Client) -> None:
    base = SPEC | {"notes": "n" * 10_000, "dataset": {"kind": "uploaded", "id": "wide", "features": ["f" * 100] * 600}}
    body = {"base": base, "grid": {"optimizer.learning_rate": [place / 1_000 for place in range(1, 1_001)]}}
    (error,) = api.post("/v1/sweeps", json=body).json()["errors"]
    assert (error["pointer"], error["code"]) == ("/base", "too_large")
    assert api.get("/v1/jobs").json()["data"] == []
