"""Running a lab: its jobs are trained, measured and opened as its claims need it, and the service judges."""

import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from math import inf
from secrets import token_hex

from rich.console import Console
from rich.text import Text

from descent.client import Client
from descent.comparison import Question, TableRow
from descent.errors import DescentError, Refused
from descent.lab_results import ClaimResult, JobOutcome, LabResult
from descent.local.state import running_url
from descent.private_service import private_service, temporary_folder
from descent.watching import watch
from models.answers import Job
from models.claims import renamed
from models.cores import cores
from models.labs import Contender, Lab, Ranking, Tuned
from models.metrics import METRICS
from models.spec.job import JobSpec
from models.status import RunStatus, StatusReason

OPENED_BY = "descent lab"


@contextmanager
def service_at_hand(console: Console, *, keep: bool) -> Iterator[Client]:
    """The service that DESCENT_URL names or `descent up` started in this folder; without one, a private one."""
    if os.environ.get("DESCENT_URL") or running_url():
        with Client() as client:
            yield client
    else:
        with temporary_folder("lab", console, keep=keep) as folder, private_service(folder, console) as client:
            yield client


def question(ranking: Ranking) -> Question:
    """What to ask of the service once the jobs of a lab have ended."""
    asked = Question(metric=ranking.metric, target=ranking.target, score=ranking.score)
    return asked | Question(claims=ranking.claims) if ranking.claims else asked


def introduce(lab: Lab, console: Console, jobs: int, runs: int) -> None:
    console.print(Text(lab.title, style="bold"))
    console.print(Text(f"Claim: {lab.claim}"))
    console.print(Text(f"Judged by: {lab.judged_by}", style="dim"))
    console.print(Text(f"{lab.caveat}", style="dim"))
    console.print(f"{jobs} jobs, {runs} runs.\n", highlight=False)


def run_lab(client: Client, lab: Lab, console: Console, *, quick: bool = False) -> tuple[LabResult, list[Job]]:
    """Train a lab's jobs, measure them, and have its claims judged; the jobs that were judged come with the result.

    Raises:
        DescentError: if a run or a measurement ends without a result of its own.
        KeyboardInterrupt: if Ctrl-C asks to end; the jobs are cancelled by then.

    """
    started = time.monotonic()
    lab = lab.as_quick() if quick else lab
    introduce(lab, console, len(list(lab.specs)), lab.runs)
    tag = lab.tag + token_hex(4)
    chosen = {one.base.name: _choose(client, lab.compare, one, tag, console) for one in lab.tuned if lab.compare}
    jobs = train(client, _tagged([*lab.jobs, *(contender.judged for contender in chosen.values())], tag), console)
    by_name = {job.name: job for job in jobs}
    _measure(client, [job for job in jobs if job.spec.analyses], console)
    _open(client, [by_name[name] for name in lab.to_open], lab, console)
    ids = {name: job.id for name, job in by_name.items()}
    judged = client.verdict([renamed(claim, ids) for claim in lab.family])
    words = {one.base.name: _how(one, chosen[one.base.name]) for one in lab.tuned}
    result = LabResult(
        lab=lab.name,
        verdict=judged.verdict,
        claims=[ClaimResult.of(one) for one in judged.claims],
        jobs=[_outcome(client, job, words) for job in jobs],
        seconds=round(time.monotonic() - started, 1),
        quick=quick,
        fingerprint=lab.fingerprint,
        machine=f"{platform.machine()}, {cores()} cores",
        version=version("descent"),
        finished_at=datetime.now(UTC).replace(microsecond=0),
    )
    return result, jobs


def train(client: Client, specs: Sequence[JobSpec], console: Console) -> list[Job]:
    """Hand in jobs and stay until they have ended.

    Raises:
        DescentError: if a run ends without a result of its own.
        KeyboardInterrupt: if Ctrl-C asks to end; what has not ended is cancelled by then.

    """
    with _cancelling(client) as submitted:
        for spec in specs:
            submitted.append(client.submit(spec))
        jobs = watch(client, submitted, console)
    demand_results(client, jobs)
    return jobs


@contextmanager
def _cancelling(client: Client) -> Iterator[list[Job]]:
    """Jobs that are put into this list are cancelled if Ctrl-C ends the block, or the service declines another one."""
    submitted: list[Job] = []
    try:
        yield submitted
    except (KeyboardInterrupt, Refused):
        # What ended the block is what is told, even if the service no longer answers.
        with suppress(DescentError):
            for job in submitted:
                if not client.job(job).is_terminal:
                    client.cancel(job)
        raise


def demand_results(client: Client, jobs: Sequence[Job]) -> None:
    """Insist that every run has come to a result of its own; a diverged run has, a run that broke has not.

    Raises:
        DescentError: for the first one that broke.

    """
    for job in jobs:
        for run in client.runs(job):
            if run.status is not RunStatus.SUCCEEDED and run.status_reason != StatusReason.DIVERGED:
                why = run.status_detail or run.status_reason or "no reason given"
                raise DescentError(f"{job.name}, seed {run.seed}, ended as {run.status}: {why}")


# ── choosing from a grid ─────────────────────────────────────────────────────────────────────────


def _choose(client: Client, ranking: Ranking, tuned: Tuned, tag: str, console: Console) -> Contender:
    """The contender that ranks first on the seeds set apart for choosing."""
    contenders = tuned.contenders
    jobs = train(client, _tagged((contender.trial for contender in contenders), tag), console)
    comparison = client.compare(jobs, **question(ranking.model_copy(update={"claims": ()})))
    diverged = {job.id: job.diverged for job in comparison.jobs}
    best = min(comparison.table, key=lambda row: _rank(row, ranking, diverged[row.job_id]))
    return contenders[[job.id for job in jobs].index(best.job_id)]


def _how(tuned: Tuned, chosen: Contender) -> str:
    return f"{chosen.told}, chosen from {len(tuned.contenders)} on {len(tuned.chosen_on)} other seeds"


def _tagged(specs: Iterable[JobSpec], tag: str) -> list[JobSpec]:
    return [spec.model_copy(update={"tags": (*spec.tags, tag)}) for spec in specs]


def _rank(row: TableRow, ranking: Ranking, diverged: int) -> tuple[float, ...]:
    """Lower is better: by the score, then by the last value; a contender whose runs diverge comes last."""
    sign = -1 if METRICS[ranking.metric].better == "higher" else 1
    last = inf if row.last.mean is None else sign * row.last.mean
    if ranking.score == "steps_to_target":
        assert row.steps_to_target is not None
        median = row.steps_to_target.median
        return (inf if median is None else median, diverged, last)
    score = row.last.mean if ranking.score == "last" else row.best.mean
    return (diverged, inf if score is None else sign * score, last)


# ── measuring ────────────────────────────────────────────────────────────────────────────────────


def _measure(client: Client, jobs: Sequence[Job], console: Console) -> None:
    """Wait for the analyses that specs asked for.

    Raises:
        DescentError: if one of them fails.

    """
    for number, job in enumerate(jobs, start=1):
        with console.status(f"Measuring {job.name}, {number} of {len(jobs)} jobs …"):
            for one in client.wait_for_analyses(job):
                if one.status != RunStatus.SUCCEEDED:
                    raise DescentError(f"{one.kind} of {job.name}, seed {one.seed}, failed: {one.status_detail}")


def _open(client: Client, jobs: Sequence[Job], lab: Lab, console: Console) -> None:
    """Open the sealed tests that claims are about.

    Raises:
        DescentError: if a run cannot be measured on them.

    """
    for job in jobs:
        client.open_test(job, opened_by=OPENED_BY, reason=f"lab {lab.name}")
    for job in jobs:
        with console.status(f"Measuring {job.name} on the sealed rows …"):
            found = client.wait_for_test(job)
        if found.failures:
            raise DescentError(f"the sealed rows of {job.name} could not be measured: {found.failures[0]}")


def _outcome(client: Client, job: Job, chosen: Mapping[str, str]) -> JobOutcome:
    runs = client.runs(job)
    return JobOutcome(
        name=job.name,
        runs=len(runs),
        diverged=sum(run.status_reason == StatusReason.DIVERGED for run in runs),
        updates=max(run.progress.total for run in runs),
        chosen=chosen.get(job.name, ""),
    )
