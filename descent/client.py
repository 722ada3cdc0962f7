# Made from descent/asynchronous/client.py: change that file, then `make format`.
"""The client: what the service offers, as methods."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, Unpack
from urllib.parse import quote

import httpx2

from descent import exchange
from descent.access import Access
from descent.comparison import Comparison, Question, as_parameters
from descent.keeping import Keeping
from descent.local.state import key_of, running_url
from descent.measuring import Measuring
from descent.naming import PAGE_SIZE, Spec, as_body, as_header, given, id_of
from descent.pacing import Pace, still
from descent.recording import Recording
from descent.sweeping import Sweeping
from descent.transport import Transport
from descent.uploading import Uploading
from models.answers import ComponentChoice, Experiment, Health, Job, PlannedJob, Queue, Readiness, Run, Usage, Worker
from models.claims import Claim, Judgement
from models.lab_plans import LabPlan, LabSummary

DEFAULT_URL = "http://127.0.0.1:8000"


class Client(Sweeping, Uploading, Recording, Measuring, Keeping, Access):
    """Talks to one service.

    Jobs and runs are named by their id, or by the `Job` or `Run` itself, and data sets by their name, too. Every
    method raises `Refused` where the service declines, with its reasons, and `Unreachable` where nothing answers for
    `patience_seconds`. A hundred requests may be under way at once; those beyond wait for their turn.

    Example:
        >>> client = Client()
        >>> job = client.submit({"dataset": "digits", "optimizer": "adam", "seeds": 3})
        >>> job = client.wait(job)
        >>> job.status
        <RunStatus.SUCCEEDED: 'succeeded'>

    """

    def __init__(self, url: str | None = None, *, key: str | None = None, patience_seconds: float = 10.0) -> None:
        """Without a `url` take DESCENT_URL, or else the service that `descent up` started in this folder.

        Without a `key` take DESCENT_KEY, or else that of the service that `descent up` started in this folder.
        """
        if "IPython" in sys.modules:
            # A notebook: only there is it worth its import.
            from descent.notebook import register

            register()
        chosen = url or os.environ.get("DESCENT_URL") or running_url() or DEFAULT_URL
        self._transport = Transport(chosen, key or os.environ.get("DESCENT_KEY") or key_of(chosen), patience_seconds)

    @property
    def url(self) -> str:
        return self._transport.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    # ── jobs ─────────────────────────────────────────────────────────────────────────────────────

    def submit(
        self, spec: Spec, *, on_duplicate: Literal["new", "return"] = "new", idempotency_key: str | None = None
    ) -> Job:
        """Hand in a job. With `on_duplicate="return"` a job of the same spec that has succeeded is handed back.

        A submission that was interrupted may have reached the service. Make it with an `idempotency_key`, up to 200
        characters of your choice, and with the same key again: within a day that hands back the same job.
        """
        parameters = [("on_duplicate", on_duplicate)] if on_duplicate != "new" else []
        return self._ask(Job, "POST", "/v1/jobs", parameters, as_body(spec), as_header(idempotency_key))

    def validate(self, spec: Spec) -> PlannedJob:
        """Say what a spec would ask for, and store nothing."""
        return self._ask(PlannedJob, "POST", "/v1/jobs/validate", body=as_body(spec))

    def jobs(
        self,
        *,
        owner: str | None = None,
        experiment: str | None = None,
        sweep: str | None = None,
        status: str | None = None,
        tag: str | None = None,
        spec_hash: str | None = None,
        created_after: datetime | None = None,
        sort: Literal["newest", "oldest"] = "newest",
        page_size: int = PAGE_SIZE,
    ) -> Iterator[Job]:
        """Iterate over the jobs that meet every condition; pages are fetched as needed.

        Args:
            owner: For admins, who see the jobs of every owner.
            experiment: Name of an experiment.
            sweep: Id of a sweep. With `sort="oldest"` its jobs come in the order of its grid.
            status: Status of a job, such as "running".
            tag: One of the tags of a job.
            spec_hash: Hash of a spec.
            created_after: A time; without a time zone it is in UTC.
            sort: Which jobs come first.
            page_size: Jobs per request, at most 200.

        """
        parameters = given(
            owner=owner,
            experiment=experiment,
            sweep=sweep,
            status=status,
            tag=tag,
            spec_hash=spec_hash,
            created_after=created_after.isoformat() if created_after else None,
            sort=sort,
            limit=str(page_size),
        )
        return self._pages(Job, "/v1/jobs", parameters)

    def job(self, job: str | Job) -> Job:
        return self._ask(Job, "GET", f"/v1/jobs/{id_of(job)}")

    def runs(self, job: str | Job) -> list[Run]:
        return self._all(Run, f"/v1/jobs/{id_of(job)}/runs")

    def run(self, run: str | Run) -> Run:
        return self._ask(Run, "GET", f"/v1/runs/{id_of(run)}")

    def update(
        self,
        job: Job,
        *,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        priority: int | None = None,
    ) -> Job:
        """Change a job's labels, unless somebody else has changed them since `job` was fetched."""
        labels = {"name": name, "tags": None if tags is None else list(tags), "notes": notes, "priority": priority}
        changed = {label: value for label, value in labels.items() if value is not None}
        headers = {"If-Match": f'"{job.version}"'}
        return self._ask(Job, "PATCH", f"/v1/jobs/{id_of(job)}", body=changed, headers=headers)

    def cancel(self, job: str | Job) -> Job:
        return self._ask(Job, "POST", f"/v1/jobs/{id_of(job)}/cancel")

    def pause(self, job: str | Job) -> Job:
        """Let a job's runs rest: what trains is saved and leaves its worker within about two seconds."""
        return self._ask(Job, "POST", f"/v1/jobs/{id_of(job)}/pause")

    def resume(self, job: str | Job) -> Job:
        """Let a paused job's runs go on from where they were saved."""
        return self._ask(Job, "POST", f"/v1/jobs/{id_of(job)}/resume")

    def extend(
        self, job: Job, *, steps: int | None = None, epochs: int | None = None, max_seconds: float | None = None
    ) -> Job:
        """Let an ended job go on under a larger budget, in steps or epochs, as if it had been its first.

        Runs that spent their budget go on from their last checkpoints; those that stopped early stay. With
        `max_seconds` alone only the limit of each run's training time changes, in seconds, which may be done at any
        time and counts from the next attempt on; left out, it stays.

        Raises:
            Refused: while a run waits, rests or trains; if the budget is not larger, or would have changed the steps
                that were taken, as a schedule does; or if the job's sealed test was opened.

        """
        kept = job.spec.budget
        if steps is None and epochs is None:
            steps, epochs = kept.steps, kept.epochs
        limit = kept.max_seconds if max_seconds is None else max_seconds
        asked = {"steps": steps, "epochs": epochs, "max_seconds": limit}
        budget = {name: value for name, value in asked.items() if value is not None}
        return self._ask(Job, "PATCH", f"/v1/jobs/{id_of(job)}", body={"budget": budget})

    def retry(self, job: str | Job) -> Job:
        """Queue a job's failed and cancelled runs again; they go on from their last checkpoints."""
        return self._ask(Job, "POST", f"/v1/jobs/{id_of(job)}/retry")

    def delete(self, job: str | Job) -> None:
        self._transport.send("DELETE", f"/v1/jobs/{id_of(job)}")

    def wait(self, job: str | Job, timeout: float | None = None, *, progress: bool = False) -> Job:
        """Return the job once all its runs have ended, however they ended.

        A paused job has not ended: this waits until it is resumed, or cancelled, from elsewhere. With `progress` it
        shows how far the runs are, in a terminal or a notebook as moving bars, elsewhere as lines on standard error.

        Raises:
            TimedOut: after `timeout` seconds.

        """
        if progress:
            # Only who looks on has to load what draws.
            from descent.screens import console
            from descent.watching import watch

            (ended,) = watch(self, [self.job(job)], console(), timeout)
            return ended
        pace = Pace(timeout)
        while not (found := self.job(job)).is_terminal:
            time.sleep(pace.next_pause_while(*still(found)))
        return found

    # ── questions over many jobs ─────────────────────────────────────────────────────────────────

    def experiments(self) -> Iterator[Experiment]:
        return self._pages(Experiment, "/v1/experiments")

    def components(self, family: str | None = None) -> list[ComponentChoice]:
        """Every choice that a spec can name, or those of one family."""
        path = "/v1/components" + (f"/{family}" if family else "")
        return self._all(ComponentChoice, path)

    def labs(self) -> list[LabSummary]:
        """The experiments that come with the service: each a claim, and the jobs that can support or refute it."""
        return self._all(LabSummary, "/v1/labs")

    def lab(self, name: str, *, quick: bool = False) -> LabPlan:
        """All that it takes to run a lab, or its smaller version."""
        return self._ask(LabPlan, "GET", f"/v1/labs/{quote(name, safe='')}", given(quick="true" if quick else None))

    def compare(self, jobs: Sequence[str | Job] = (), **question: Unpack[Question]) -> Comparison:
        """Put jobs side by side, paired by seed.

        Example:
            >>> found = client.compare([adam, sgd], target=0.02, score="steps_to_target", claims=["adam < sgd"])
            >>> found.verdict
            'supported'

        """
        parameters = [*_named(jobs), *as_parameters(question)]
        answer = self._transport.send("GET", "/v1/comparisons", parameters=parameters)
        return Comparison.read(answer.content)

    def report(
        self,
        jobs: Sequence[str | Job] = (),
        *,
        format: Literal["html", "markdown", "csv"] = "html",
        **question: Unpack[Question],
    ) -> str:
        """The same comparison as one self-contained document."""
        parameters = [*_named(jobs), *as_parameters(question), ("format", format)]
        answer = self._transport.send("GET", "/v1/comparisons/report", parameters=parameters)
        return answer.text

    def verdict(self, claims: Sequence[Claim | dict[str, Any]]) -> Judgement:
        """Judge claims about jobs whose runs have ended, as one family.

        Example:
            >>> steps = {"kind": "metric", "take": "steps_to_target", "target": 0.02}
            >>> claim = {"kind": "less", "left": {**steps, "job": adam.id}, "right": {**steps, "job": sgd.id}}
            >>> judged = client.verdict([claim])
            >>> judged.verdict
            'supported'

        """
        told = [claim if isinstance(claim, dict) else claim.model_dump(mode="json") for claim in claims]
        return self._ask(Judgement, "POST", "/v1/verdicts", body={"claims": told})

    # ── the service itself ───────────────────────────────────────────────────────────────────────

    def queue(self) -> Queue:
        return self._ask(Queue, "GET", "/v1/queue")

    def usage(self, owner: str | None = None) -> Usage:
        """Return what the key's owner uses of the quotas; admins may name another owner.

        Example:
            >>> usage = client.usage()
            >>> usage.stored_bytes.total + usage.expected_bytes <= usage.max_stored_bytes
            True

        """
        return self._ask(Usage, "GET", "/v1/usage", given(owner=owner))

    def workers(self) -> list[Worker]:
        return self._all(Worker, "/v1/workers")

    def health(self) -> Health:
        return self._ask(Health, "GET", "/healthz")

    def readiness(self) -> Readiness:
        """Which of the parts that the service stands on answer."""
        answer = self._transport.send("GET", "/readyz", answers=[httpx2.codes.SERVICE_UNAVAILABLE])
        return exchange.read(Readiness, answer, self.url)


def _named(jobs: Sequence[str | Job]) -> list[tuple[str, str]]:
    return [("job", id_of(job)) for job in jobs]
