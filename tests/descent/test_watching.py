import io
from typing import Any

import pytest
from rich.console import Console

from descent import Client, Unreachable, watching
from descent.drawing import STYLES, draw
from descent.watching import Watch
from models.answers import Job
from models.status import RunStatus
from tests.descent.conftest import Answer, Request, Service, make_job, make_metrics, make_page, make_run

SEEDS = 8


def lay_out(service: Service, *names: str, **run: Any) -> list[Job]:
    """Jobs of eight runs each, and their metrics."""
    jobs = []
    for name in names:
        status = {"status": "running", "runs_by_status": {"running": SEEDS}, "progress": run.get("progress")}
        body = make_job(f"job_{name}", name=name, **{k: v for k, v in status.items() if v})
        runs = [make_run(f"run_{name}_{seed}", seed=seed, **run) for seed in range(SEEDS)]
        service.on("GET", f"/v1/jobs/job_{name}", Answer(body=body))
        service.on("GET", f"/v1/jobs/job_{name}/runs", Answer(body=make_page(*runs)))
        for seed in range(SEEDS):
            page = make_metrics("1-0", validation_loss={1: 0.5, 2: 0.25})
            service.on("GET", f"/v1/runs/run_{name}_{seed}/metrics", Answer(body=page))
        jobs.append(Job.model_validate(body))
    return jobs


def picture(seen: Watch, width: int = 80, height: int = 30) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(draw(seen, console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip("\n").split("\n")


def test_24_runs_in_three_jobs_fit_a_terminal_of_80_by_30_with_a_bar_each(service: Service, client: Client) -> None:
    seen = Watch(client, lay_out(service, "sgd", "momentum", "adam"))
    for _ in range(3):
        seen.look()
    lines = picture(seen)
    assert len(lines) < 30
    assert max(map(len, lines)) <= 80
    for seed in range(SEEDS):
        assert sum(line.count(f"seed {seed} ") for line in lines) == 3
    assert sum(line.count("50 %") for line in lines) == 24
    assert sum(line.count(" 0.25") for line in lines) == 24 + 3


def test_a_terminal_that_is_too_small_shows_the_jobs_alone(service: Service, client: Client) -> None:
    halfway = {"completed": 50, "total": 100, "unit": "steps", "eta_seconds": 3.0}
    seen = Watch(client, lay_out(service, "sgd", "adam", progress=halfway))
    seen.look()
    lines = picture(seen, height=8)
    assert len(lines) == 4
    assert not any("seed" in line for line in lines)
    assert "3 s left" in lines[0]


def test_each_look_asks_a_few_runs_for_their_loss_and_all_get_their_turn(service: Service, client: Client) -> None:
    seen = Watch(client, lay_out(service, "sgd", "momentum", "adam"))
    asked = []
    for _ in range(3):
        before = len(service.requests)
        seen.look()
        asked.append([r.path for r in service.requests[before:] if r.path.endswith("/metrics")])
    assert [len(paths) for paths in asked] == [watching.RUNS_PER_LOOK] * 3
    assert len({path for paths in asked for path in paths}) == 24


def test_a_loss_is_asked_for_from_where_it_was_last_known(service: Service, client: Client) -> None:
    seen = Watch(client, lay_out(service, "sgd"))
    seen.look()
    seen.look()
    afters = [dict(r.parameters).get("after") for r in service.requests if r.path == "/v1/runs/run_sgd_0/metrics"]
    assert afters == [None, "1-0"]


def test_a_run_that_has_ended_shows_the_loss_of_its_summary(service: Service, client: Client) -> None:
    summary = {"validation_loss": {"last": 0.125, "best": 0.1, "best_step": 1}}
    jobs = lay_out(service, "sgd", status="succeeded", is_terminal=True, summary=summary)
    seen = Watch(client, jobs)
    seen.look()
    assert set(seen.losses.values()) == {0.125}
    assert not any(request.path.endswith("/metrics") for request in service.requests)


def test_a_service_that_restarts_is_waited_for_and_what_was_known_stays(
    service: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(service.url, patience_seconds=0) as impatient:
        seen = Watch(impatient, lay_out(service, "sgd"))
        seen.look()
        service.on("GET", "/v1/jobs/job_sgd", Answer(hang_up=True))
        seen.look()
        assert seen.is_silent
        assert any("trying again" in line for line in picture(seen))
        assert any("50 %" in line for line in picture(seen))
        monkeypatch.setattr(watching, "SILENCE_SECONDS", 0)
        with pytest.raises(Unreachable):
            seen.look()


def test_what_keeps_a_job_from_training_is_shown(service: Service, client: Client) -> None:
    jobs = lay_out(service, "sgd")
    warned = make_job("job_sgd", warnings=["No live worker has the device cuda."])
    service.on("GET", "/v1/jobs/job_sgd", Answer(body=warned))
    seen = Watch(client, jobs)
    seen.look()
    assert any("No live worker has the device cuda." in line for line in picture(seen))


def paused(service: Service, *after: dict[str, Any]) -> None:
    """A job that rests, and then is what comes after."""
    rests = {"status": "paused", "runs_by_status": {"paused": 1}}
    replies = [Answer(body=make_job("job_sgd", name="sgd", **changes)) for changes in (rests, *after)]
    service.on("GET", "/v1/jobs/job_sgd", *replies)
    service.on("GET", "/v1/jobs/job_sgd/runs", Answer(body=make_page(make_run("run_sgd", status="paused"))))


def test_a_paused_job_is_told_to_rest_and_how_it_goes_on(service: Service, client: Client) -> None:
    jobs = lay_out(service, "sgd")
    paused(service)
    seen = Watch(client, jobs)
    seen.look()
    lines = picture(seen)
    assert any("paused" in line for line in lines)
    assert any("descent resume sgd" in line for line in lines)
    assert any("rests" in line for line in lines if "seed 0" in line)
    assert not seen.is_over
    assert not any(request.path.endswith("/metrics") for request in service.requests), "nothing new can come of it"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_watching_stays_with_a_paused_job_and_sees_it_go_on(
    service: Service, client: Client, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(watching, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.01)
    jobs = lay_out(service, "sgd")
    ended = {"status": "succeeded", "is_terminal": True, "runs_by_status": {"succeeded": 1}}
    paused(service, {"status": "running", "runs_by_status": {"running": 1}}, ended)
    screen = io.StringIO()
    console = Console(file=screen, width=80, height=30, force_terminal=is_terminal, color_system=None)
    (last,) = watching.watch(client, jobs, console)
    assert last.status == "succeeded"
    told = screen.getvalue()
    assert told.index("descent resume sgd") < told.index("running") < told.index("1/1 ended")


def test_every_status_has_a_style() -> None:
    assert set(STYLES) == set(RunStatus)


def test_a_terminal_is_drawn_upon_until_all_have_ended(service: Service, client: Client) -> None:
    jobs = lay_out(service, "sgd")
    ended = make_job("job_sgd", status="succeeded", is_terminal=True, runs_by_status={"succeeded": 8})
    looks: list[Request] = []

    def job(request: Request) -> Answer:
        looks.append(request)
        return Answer(body=ended if len(looks) > 2 else make_job("job_sgd", status="running"))

    service.on("GET", "/v1/jobs/job_sgd", job)
    screen = io.StringIO()
    console = Console(file=screen, width=80, height=30, force_terminal=True, color_system=None)
    (last,) = watching.watch(client, jobs, console)
    assert last.status == "succeeded"
    assert "8/8 ended" in screen.getvalue()
