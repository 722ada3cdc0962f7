import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console
from typer.testing import CliRunner

from api.comparison import judge
from api.comparison.contest import Outcome
from api.comparison.finding import Finding, Sample
from descent import AsyncClient, Client, DescentError, documents, lab_runs
from descent.cli import app
from descent.lab_results import LabResult
from models import labs
from models.claims import Between, Claim, Close, Diagnosed, Less, Verdict, quantities
from models.lab_plans import LabPlan
from models.labs import Lab
from models.spec.job import JobSpec
from models.spec.plan import plan
from tests.descent.conftest import Answer, Request, Service, make_job, make_page, make_run, problem
from tests.descent.test_compare import make_comparison

NAMES = list(labs.shipped())
VERDICTS: tuple[Verdict, ...] = ("supported", "refuted", "undecided")


# ── what ships ───────────────────────────────────────────────────────────────────────────────────


def test_the_nine_labs_of_the_lecture_are_there() -> None:
    assert NAMES == [
        "all-optimizers",
        "batch-size",
        "bias-variance",
        "cross-validation",
        "ensembles",
        "generalization",
        "mnist1d",
        "optimizers",
        "regularizers",
    ]


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_lab_is_a_set_of_jobs_that_could_be_submitted(name: str, quick: bool) -> None:
    lab = labs.shipped()[name].as_quick() if quick else labs.shipped()[name]
    assert lab.name == name
    for job in lab.specs:
        assert job.experiment == lab.experiment
        assert plan(job).steps > 0
        if job.name in lab.to_open:
            assert plan(job).test_rows
    for tuned in lab.tuned:
        for contender in tuned.contenders:
            assert plan(contender.trial).steps > 0
            assert contender.judged.name == tuned.base.name


@pytest.mark.parametrize("name", NAMES)
def test_a_quick_lab_is_a_smaller_one(name: str) -> None:
    lab = labs.shipped()[name]
    quick = lab.as_quick()
    assert sum(plan(job).steps * len(job.runs) for job in quick.specs) < sum(
        plan(job).steps * len(job.runs) for job in lab.specs
    )
    assert quick.family
    assert quick.fingerprint != lab.fingerprint


@pytest.mark.parametrize("name", NAMES)
def test_no_lab_states_its_own_result(name: str) -> None:
    told = labs.shipped()[name].model_dump_json()
    assert "supported by" not in told
    assert "refuted by" not in told


def test_the_optimizers_lab_differs_in_the_optimizer_alone() -> None:
    lab = labs.shipped()["optimizers"]
    assert [job.name for job in lab.jobs] == ["sgd", "momentum", "adam"]
    rest = [{k: v for k, v in job.canonical().items() if k != "optimizer"} for job in lab.specs]
    assert all(other == rest[0] for other in rest)
    assert {job.optimizer.learning_rate for job in lab.jobs} == {0.01}
    assert sum(len(job.seeds) for job in lab.jobs) == 24
    assert len({json.dumps(one.grid) for one in lab.tuned}) == 1, "each may try as much as the others"


def test_the_parameters_of_mnist1d_are_the_published_ones() -> None:
    found = [plan(job).parameters for job in labs.shipped()["mnist1d"].jobs]
    assert found == 2 * [410, 15_210, 5_210, 5_134]


# ── what their judges make of evidence ───────────────────────────────────────────────────────────


def fabricated(claim: Claim, wanted: Verdict, specs: dict[str, JobSpec]) -> Finding:
    """Evidence at which the judge of a claim has to come to a verdict."""
    match claim:
        case Less():
            return judge.less(claim, **paired(claim, specs, {"supported": 1.0, "refuted": -1.0}.get(wanted)))
        case Close():
            shift = {"supported": 0.0, "refuted": 10 * claim.margin}.get(wanted)
            return judge.close(claim, **paired(claim, specs, shift, scale=claim.margin))
        case Between():
            low, high = claim.low, claim.high
            width = high - low if high is not None and low is not None else 1.0
            start = low if low is not None else high - width  # type: ignore[operator]
            middle = {"supported": start + width / 2, "refuted": start + 9 * width, "undecided": start}[wanted]
            spread = width / 2 if wanted == "undecided" else width / 100
            seeds = specs[claim.of.job].seeds
            values = {seed: middle + spread * (-1) ** i for i, seed in enumerate(seeds)}
            return judge.between(claim, sample(claim.of.job, specs, values))
        case Diagnosed():
            others = "unstable" if claim.verdict != "unstable" else "good_fit"
            runs = len(specs[claim.job].runs)
            agreeing = {"supported": runs, "refuted": 0, "undecided": runs // 2}[wanted]
            return judge.diagnosed(claim, claim.job, [claim.verdict] * agreeing + [others] * (runs - agreeing))


def paired(
    claim: Less | Close, specs: dict[str, JobSpec], shift: float | None, scale: float = 1.0
) -> dict[str, Sample]:
    """Left and right a shift apart, or where there is none, to and fro."""
    sides = quantities(claim)
    left = {seed: seed / 1000 * scale for seed in specs[sides["left"].job].seeds}
    right = {
        seed: seed / 1000 * scale + (shift if shift is not None else 2 * scale * (-1) ** i) + scale * i / 1e5
        for i, seed in enumerate(specs[sides["right"].job].seeds)
    }
    return {
        "left": sample(sides["left"].job, specs, left),
        "right": sample(sides["right"].job, specs, right),
    }


def sample(job: str, specs: dict[str, JobSpec], values: dict[int, float]) -> Sample:
    return Sample("score", job, specs[job], {seed: Outcome(value, exact=True) for seed, value in values.items()})


def verdict_of(lab: Lab, wanted: list[Verdict]) -> Verdict:
    specs = {spec.name: spec for spec in lab.specs}
    findings = [fabricated(claim, one, specs) for claim, one in zip(lab.family, wanted, strict=True)]
    found = judge.judgement(findings)
    assert [one.verdict for one in found.claims] == wanted
    return found.verdict


@pytest.mark.parametrize("wanted", VERDICTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_labs_judge_says_what_the_evidence_says_and_has_seeds_enough_to_say_it(name: str, wanted: Verdict) -> None:
    lab = labs.shipped()[name]
    assert verdict_of(lab, [wanted] * len(lab.family)) == wanted


@pytest.mark.parametrize("name", NAMES)
def test_one_refuted_claim_refutes_a_lab_and_one_undecided_leaves_it_so(name: str) -> None:
    lab = labs.shipped()[name]
    for odd in ("refuted", "undecided"):
        mixed: list[Verdict] = ["supported"] * len(lab.family)
        mixed[-1] = odd
        assert verdict_of(lab, mixed) == odd


# ── the format ───────────────────────────────────────────────────────────────────────────────────


def changed(**parts: Any) -> dict[str, Any]:
    return labs.shipped()["optimizers"].model_dump() | parts


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"compare": {"claims": ["adam < rmsprop"]}}, "rmsprop"),
        ({"claims": [{"kind": "diagnosed", "job": "rmsprop", "verdict": "good_fit"}]}, "rmsprop"),
        ({"jobs": labs.shipped()["optimizers"].jobs * 2}, "two jobs are called"),
        ({"experiment": "another"}, "instead of 'another'"),
        ({"compare": None}, "chosen from by `compare`"),
        ({"tuned": [], "claims": [], "compare": None}, "a claim that can be judged"),
    ],
)
def test_a_lab_that_does_not_fit_together_is_refused(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Lab.model_validate(changed(**parts))


def test_seeds_that_choose_may_not_judge() -> None:
    tuned = labs.shipped()["optimizers"].tuned[0].model_dump() | {"chosen_on": [7, 8]}
    with pytest.raises(ValidationError, match=r"seeds \[7\] both choose and judge"):
        labs.Tuned.model_validate(tuned)


def test_an_unknown_lab_is_answered_with_those_there_are() -> None:
    told = invoke("show", "alchemy")
    assert told.exit_code != 0
    assert isinstance(told.exception, SystemExit | DescentError)
    assert "optimizers" in str(told.exception) + told.output


def test_both_clients_ask_for_labs(lasting_url: str) -> None:
    async def asked() -> LabPlan:
        async with AsyncClient(lasting_url) as client:
            return await client.lab("ensembles", quick=True)

    with Client(lasting_url) as client:
        assert [lab.name for lab in client.labs()] == list(labs.shipped())
        assert client.lab("ensembles", quick=True) == asyncio.run(asked())
        assert client.lab("ensembles").runs == labs.shipped()["ensembles"].runs


# ── running them ─────────────────────────────────────────────────────────────────────────────────


def judged(claim: dict[str, Any], verdict: Verdict = "supported") -> dict[str, Any]:
    return {
        "claim": claim,
        "statement": "this is lower than that",
        "verdict": verdict,
        "method": "sign_flip",
        "effect": {"mean": -0.25, "lower": -0.5, "upper": -0.125, "n": 8},
        "left": 0.25,
        "right": 0.5,
        "seeds": 8,
        "wins": 8,
        "losses": 0,
        "ties": 0,
        "censored": 0,
        "left_out": 0,
        "p_value": 0.0078,
        "smallest_p": 0.0078,
        "holm_p": 0.0312,
        "sentence": "Supported: this is lower than that.",
    }


@pytest.fixture
def trained(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Service:
    """A service that has trained, measured and judged whatever it is asked to by the time anybody looks."""

    def accept(request: Request) -> Answer:
        spec = request.body
        job_id = "job_" + re.sub(r"\W+", "_", spec["name"], flags=re.ASCII)
        seeds = spec["seeds"]
        ended = {"status": "succeeded", "is_terminal": True, "runs_by_status": {"succeeded": len(seeds)}}
        job = make_job(job_id, name=spec["name"], spec=spec, **ended)
        runs = [make_run(f"run_{seed}", seed=seed, status="succeeded", is_terminal=True) for seed in seeds]
        service.on("GET", f"/v1/jobs/{job_id}", Answer(body=job))
        service.on("GET", f"/v1/jobs/{job_id}/runs", Answer(body=make_page(*runs)))
        service.on("GET", f"/v1/jobs/{job_id}/analyses", Answer(body=make_page()))
        opened = {
            "job_id": job_id,
            "job_name": spec["name"],
            "spec_hash": "0",
            "experiment": "",
            "look": 1,
            "looks_at_dataset": 1,
            "opened_by": "descent lab",
            "reason": "",
            "opened_at": "2026-01-02T03:04:05Z",
            "runs": 1,
            "evaluated": 1,
            "failures": [],
            "is_terminal": True,
            "scores": {},
        }
        service.on("POST", f"/v1/jobs/{job_id}/test-evaluation", Answer(202, opened))
        service.on("GET", f"/v1/jobs/{job_id}/test-evaluation", Answer(body=opened))
        return Answer(202, job)

    def verdicts(request: Request) -> Answer:
        claims = [judged(claim) for claim in request.body["claims"]]
        return Answer(body={"verdict": "supported", "confidence": 0.95, "claims": claims})

    def compared(request: Request) -> Answer:
        ids = [value for name, value in request.parameters if name == "job"]
        template = make_comparison()
        rows = [template["table"][0] | {"job_id": job_id} for job_id in ids]
        # The second of several ranks first: it reaches the target soonest.
        for index, row in enumerate(rows):
            row["steps_to_target"] = row["steps_to_target"] and row["steps_to_target"] | {
                "median": 10 if index == 1 else 20
            }
        contenders = [template["jobs"][0] | {"id": job_id, "label": job_id} for job_id in ids]
        return Answer(body=template | {"jobs": contenders, "table": rows, "baseline": ids[0]})

    service.on("POST", "/v1/jobs", accept)
    service.on("POST", "/v1/verdicts", verdicts)
    service.on("GET", "/v1/comparisons", compared)
    service.on("GET", "/v1/comparisons/report", Answer(body=b"<html>", media_type="text/html"))
    monkeypatch.setenv("DESCENT_URL", service.url)
    monkeypatch.chdir(tmp_path)
    return service


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["lab", *arguments], env={"COLUMNS": "160"})


def bodies(service: Service, path: str) -> list[Any]:
    return [request.body for request in service.requests if request.method == "POST" and request.path == path]


def test_a_lab_is_trained_on_the_service_at_hand_and_judged_by_it(trained: Service) -> None:
    told = invoke("run", "generalization")
    assert told.exit_code == 0, told.output
    assert [spec["name"] for spec in bodies(trained, "/v1/jobs")] == [
        job.name for job in labs.shipped()["generalization"].jobs
    ]
    (asked,) = bodies(trained, "/v1/verdicts")
    assert {job for claim in asked["claims"] for job in jobs_in(claim)} == {
        "job_linear",
        "job_large",
        "job_large_with_many_rows",
    }
    assert "Verdict: SUPPORTED" in told.stdout
    assert "0.25 and 0.5: −0.25, −0.5 to −0.125, 8 seeds, p 0.0078 (0.031)" in told.stdout


def jobs_in(claim: dict[str, Any]) -> list[str]:
    if claim["kind"] == "diagnosed":
        return [claim["job"]]
    return [side["job"] for side in claim.values() if isinstance(side, dict)]


def test_as_json_it_is_one_object_with_a_result_for_each_lab_and_stores_them(trained: Service, tmp_path: Path) -> None:
    told = invoke("run", "generalization", "bias-variance", "--quick", "--json", "--store", str(tmp_path))
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)["labs"]
    assert [(one["lab"], one["verdict"], one["quick"]) for one in found] == [
        ("generalization", "supported", True),
        ("bias-variance", "supported", True),
    ]
    assert found[0]["seconds"] >= 0
    claim = found[0]["claims"][0]
    assert (claim["statement"], claim["verdict"], claim["effect"], claim["interval"], claim["seeds"]) == (
        "this is lower than that",
        "supported",
        -0.25,
        [-0.5, -0.125],
        8,
    )
    assert {len(spec["seeds"]) for spec in bodies(trained, "/v1/jobs")} == {
        labs.shipped()[name].quick.seeds for name in ("generalization", "bias-variance")
    }
    stored = LabResult.model_validate_json((tmp_path / "bias-variance.json").read_text())
    assert stored.fingerprint == labs.shipped()["bias-variance"].as_quick().fingerprint
    assert "Claim:" in told.stderr


def test_a_rate_is_chosen_on_some_seeds_and_judged_on_others(trained: Service) -> None:
    told = invoke("run", "optimizers")
    assert told.exit_code == 0, told.output
    submitted = bodies(trained, "/v1/jobs")
    assert len(submitted) == 3 * 5 + 6
    assert {tuple(spec["seeds"]) for spec in submitted[:15]} == {(100, 101, 102)}
    assert {tuple(spec["seeds"]) for spec in submitted[15:]} == {tuple(range(8))}
    rates = {spec["name"]: spec["optimizer"]["learning_rate"] for spec in submitted[15:]}
    assert rates == {job.name: 0.01 for job in labs.shipped()["optimizers"].specs}
    assert "learning rate 0.01, chosen from 5 on 3 other seeds" in told.stdout


def test_the_tests_that_claims_are_about_are_opened_and_no_others(trained: Service) -> None:
    assert invoke("run", "cross-validation").exit_code == 0
    opened = [request for request in trained.requests if request.path.endswith("/test-evaluation")]
    assert {request.path for request in opened} == {
        "/v1/jobs/job_10_folds/test-evaluation",
        "/v1/jobs/job_replicates/test-evaluation",
    }
    assert opened[0].body == {"opened_by": "descent lab", "reason": "lab cross-validation"}
    trained.requests.clear()
    assert invoke("run", "ensembles").exit_code == 0
    assert not [request for request in trained.requests if request.path.endswith("/test-evaluation")]


def test_ctrl_c_cancels_what_the_lab_has_submitted(trained: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(client: Client, jobs: Any, console: Console) -> Any:
        running = make_job("job_linear", name="linear", status="running")
        trained.on("GET", "/v1/jobs/job_linear", Answer(body=running))
        trained.on("POST", "/v1/jobs/job_linear/cancel", Answer(body=running))
        raise KeyboardInterrupt

    monkeypatch.setattr(lab_runs, "watch", interrupted)
    assert invoke("run", "generalization").exit_code == 130
    assert [request.path for request in trained.requests if request.path.endswith("/cancel")] == [
        "/v1/jobs/job_linear/cancel"
    ]


def test_what_a_lab_has_submitted_is_cancelled_where_the_service_declines_the_rest(trained: Service) -> None:
    running = make_job("job_linear", name="linear", status="running")
    trained.on("POST", "/v1/jobs", Answer(202, running), problem(422, "invalid", "no worker for this device"))
    trained.on("GET", "/v1/jobs/job_linear", Answer(body=running))
    trained.on("POST", "/v1/jobs/job_linear/cancel", Answer(body=running))
    told = invoke("run", "generalization")
    assert told.exit_code == 1
    assert "no worker for this device" in told.stderr
    assert trained.requests[-1].path == "/v1/jobs/job_linear/cancel"


def test_an_analysis_that_fails_ends_the_lab_with_its_reason(trained: Service) -> None:
    accept = trained._replies["POST", "/v1/jobs"][0]

    def with_a_failure(request: Request) -> Answer:
        answer = accept(request)  # type: ignore[operator]
        failed = {
            "id": "analysis_1",
            "run_id": "run_0",
            "job_id": answer.body["id"],
            "seed": 0,
            "member": 0,
            "kind": "hessian",
            "options": {},
            "status": "failed",
            "is_terminal": True,
            "status_detail": "no room",
            "values": {},
            "details": {},
            "queued_at": "2026-01-02T03:04:05Z",
            "finished_at": "2026-01-02T03:04:05Z",
        }
        trained.on("GET", f"/v1/jobs/{answer.body['id']}/analyses", Answer(body=make_page(failed)))
        return answer

    trained.on("POST", "/v1/jobs", with_a_failure)
    told = invoke("run", "batch-size", "--quick")
    assert told.exit_code == 1
    assert "hessian of small batches, seed 0, failed: no room" in told.stderr


def test_without_a_service_at_hand_a_lab_has_a_private_one(
    trained: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = []

    @contextmanager
    def private(folder: Path, _console: Console) -> Iterator[Client]:
        folders.append(folder)
        with Client(trained.url) as client:
            yield client

    monkeypatch.delenv("DESCENT_URL")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(lab_runs, "private_service", private)
    assert invoke("run", "generalization", "--quick").exit_code == 0
    assert folders[0].parent == tmp_path
    assert not folders[0].exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "name some labs, or say --all"),
        (["run", "optimizers", "--all"], "name some labs, or say --all"),
        (["run", "--all", "--report", "all.html"], "a report is about one lab"),
        (["run", "optimizers", "--report", "report.pdf"], "a report ends in .html, .md, .csv"),
        (["run", "optimizers", "--report", "nowhere/report.html"], "there is no folder"),
        (["run", "optimizers", "--store", "nowhere"], "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_trained(
    trained: Service, arguments: list[str], words: str
) -> None:
    told = invoke(*arguments)
    assert told.exit_code == 2
    assert words in " ".join(told.stderr.replace("│", " ").split())
    assert trained.requests == []


def test_a_report_of_a_labs_jobs_is_written(trained: Service) -> None:
    assert invoke("run", "generalization", "--report", "mine.html").exit_code == 0
    assert Path("mine.html").read_text() == "<html>"


def test_labs_are_listed_and_shown(trained: Service) -> None:
    listed = invoke("list").stdout
    assert all(name in listed for name in NAMES)
    assert [one["name"] for one in json.loads(invoke("list", "--json").stdout)["labs"]] == NAMES
    shown = invoke("show", "ensembles").stdout
    assert "Judged by:" in shown
    assert "bagging [members] < bagging [mean]" in shown
    assert Lab.model_validate_json(invoke("show", "ensembles", "--json").stdout) == labs.shipped()["ensembles"]
    assert invoke("show", "alchemy").exit_code == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_lab_is_shown_with_every_one_of_its_claims(name: str) -> None:
    told = invoke("show", name)
    assert told.exit_code == 0
    assert f"{len(labs.shipped()[name].family)} claims, judged together" in told.stdout


def test_a_number_with_an_exponent_is_a_number() -> None:
    assert documents.parse("a: 1e-2\nb: -1.5E+3\nc: 1e", "spec") == {"a": 0.01, "b": -1500.0, "c": "1e"}


@pytest.mark.parametrize("text", ["- 1", "", "a: [", "\t- x: {", "!!python/object/apply:os.getcwd []"])
def test_a_document_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(DescentError):
        documents.parse(text, "spec")
