"""The client: what the service offers, as methods."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, Unpack, overload

import httpx2

from descent.access import Access
from descent.asking import PAGE_SIZE, given, id_of
from descent.comparison import Comparison, Question, as_parameters
from descent.errors import DescentError, TimedOut
from descent.history import History, follow
from descent.keeping import Keeping
from descent.local.state import key_of, running_url
from descent.measuring import Measuring
from descent.transport import Transport
from descent.uploading import Uploading
from models.answers import (
    Artifact,
    Checkpoint,
    ComponentChoice,
    Experiment,
    Health,
    Job,
    JobMetrics,
    MetricsPage,
    PlannedJob,
    Queue,
    Readiness,
    Run,
    Snapshot,
    Sweep,
    SweepSummary,
    Worker,
)
from models.claims import Claim, Judgement
from models.spec.job import JobSpec
from models.status import RunStatus

DEFAULT_URL = "http://127.0.0.1:8000"

Spec = JobSpec | dict[str, Any]


class Client(Uploading, Measuring, Keeping, Access):
    """Talks to one service.

    Jobs and runs are named by their id, or by the `Job` or `Run` itself, and data sets by their name, too. Every
    method raises `Refused` where the service declines, with its reasons, and `Unreachable` where nothing answers for
    `patience_seconds`.

    Example:
        >>> client = Client()
        >>> job = client.submit({"dataset": "digits", "optimizer": "adam", "seeds": 3})
        >>> client.wait(job).status
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

    def submit(self, spec: Spec, *, on_duplicate: Literal["new", "return"] = "new") -> Job:
        """Hand in a job. With `on_duplicate="return"` a job of the same spec that has succeeded is handed back."""
        parameters = [("on_duplicate", on_duplicate)] if on_duplicate != "new" else []
        return self._ask(Job, "POST", "/v1/jobs", parameters, _plain(spec))

    def validate(self, spec: Spec) -> PlannedJob:
        """Say what a spec would ask for, and store nothing."""
        return self._ask(PlannedJob, "POST", "/v1/jobs/validate", body=_plain(spec))

    def jobs(
        self,
        *,
        owner: str | None = None,
        experiment: str | None = None,
        status: str | None = None,
        tag: str | None = None,
        spec_hash: str | None = None,
        created_after: datetime | None = None,
        page_size: int = PAGE_SIZE,
    ) -> Iterator[Job]:
        """Walk through the jobs, newest first; pages are fetched as the walk needs them."""
        parameters = given(
            owner=owner,
            experiment=experiment,
            status=status,
            tag=tag,
            spec_hash=spec_hash,
            created_after=created_after.isoformat() if created_after else None,
            limit=str(page_size),
        )
        return self._pages(Job, "/v1/jobs", parameters)

    def job(self, job: str | Job) -> Job:
        return self._ask(Job, "GET", f"/v1/jobs/{id_of(job)}")

    def runs(self, job: str | Job) -> list[Run]:
        return list(self._pages(Run, f"/v1/jobs/{id_of(job)}/runs", []))

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
        answer = self._transport.send("PATCH", f"/v1/jobs/{id_of(job)}", body=changed, headers=headers)
        return Job.model_validate_json(answer.content)

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

    def wait(self, job: str | Job, timeout: float | None = None) -> Job:
        """Return the job once all its runs have ended, however they ended.

        A paused job has not ended: this waits until it is resumed, or cancelled, from elsewhere.

        Raises:
            TimedOut: after `timeout` seconds.

        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.1
        while not (found := self.job(job)).is_terminal:
            if deadline is not None and time.monotonic() + pause > deadline:
                later = "it goes on once it is resumed" if found.status is RunStatus.PAUSED else "it goes on"
                raise TimedOut(f"{found.name or found.id} is still {found.status} after {timeout:g} s; {later}")
            time.sleep(pause)
            pause = min(1.5 * pause, 1.0)
        return found

    # ── what runs measure ────────────────────────────────────────────────────────────────────────

    def metrics(self, run: str | Run, names: Sequence[str] = ()) -> Iterator[MetricsPage]:
        """Follow a run live, from its first point to its end.

        Every point comes once. A page with a `rollback` takes points back: the run was trained again from an earlier
        step. `History.take` does the bookkeeping.
        """
        return follow(lambda after, wait: self.metrics_page(run, names, after=after, wait=wait))

    def history(self, run: str | Run, names: Sequence[str] = ()) -> History:
        """All points that a run has reported so far."""
        history = History()
        after = ""
        while True:
            page = self.metrics_page(run, names, after=after)
            history.take(page)
            # A page may hold points of other metrics only: what tells the end is a cursor that stands still.
            if page.is_terminal or page.next_after == after:
                return history
            after = page.next_after

    def metrics_page(
        self, run: str | Run, names: Sequence[str] = (), *, after: str = "", wait: float = 0.0
    ) -> MetricsPage:
        """The points after a cursor; where there are none yet, wait up to `wait` seconds for some."""
        parameters = [("name", name) for name in names]
        parameters += given(after=after or None, wait=f"{wait:g}" if wait else None)
        return self._ask(MetricsPage, "GET", f"/v1/runs/{id_of(run)}/metrics", parameters)

    def job_metrics(self, job: str | Job) -> JobMetrics:
        """Mean and interval over a job's runs."""
        return self._ask(JobMetrics, "GET", f"/v1/jobs/{id_of(job)}/metrics")

    def snapshots(self, run: str | Run) -> list[Snapshot]:
        return list(self._pages(Snapshot, f"/v1/runs/{id_of(run)}/snapshots", []))

    def checkpoints(self, run: str | Run) -> list[Checkpoint]:
        """From where a run can go on, the newest first."""
        return list(self._pages(Checkpoint, f"/v1/runs/{id_of(run)}/checkpoints", []))

    def artifacts(self, run: str | Run) -> list[Artifact]:
        return list(self._pages(Artifact, f"/v1/runs/{id_of(run)}/artifacts", []))

    def download(self, artifact: Artifact) -> bytes:
        """The bytes of a file that a run left."""
        return self._transport.send("GET", f"/v1/runs/{artifact.run_id}/artifacts/{artifact.id}").content

    @overload
    def weights(self, run: str | Run) -> bytes: ...
    @overload
    def weights(self, run: str | Run, path: Path) -> Path: ...
    def weights(self, run: str | Run, path: Path | None = None) -> bytes | Path:
        """The trained weights as a safetensors file: its bytes, or written to `path`."""
        name = "weights.safetensors"
        found = [artifact for artifact in self.artifacts(run) if artifact.name == name]
        if not found:
            raise DescentError(f"{id_of(run)} has no {name}: weights are kept once a run has succeeded")
        content = self.download(found[0])
        if path is None:
            return content
        path.write_bytes(content)
        return path

    # ── questions over many jobs ─────────────────────────────────────────────────────────────────

    def submit_sweep(
        self, base: Spec, grid: dict[str, list[Any]], *, name: str = "", seeds: int | Sequence[int] | None = None
    ) -> Sweep:
        """Hand in one job per combination of the grid; its keys are dotted paths such as `optimizer.learning_rate`."""
        body: dict[str, Any] = {"name": name, "base": _plain(base), "grid": grid}
        if seeds is not None:
            body["seeds"] = seeds if isinstance(seeds, int) else list(seeds)
        return self._ask(Sweep, "POST", "/v1/sweeps", body=body)

    def sweeps(self, *, page_size: int = PAGE_SIZE) -> Iterator[SweepSummary]:
        """Walk through the sweeps, newest first; their jobs are counted, not told."""
        return self._pages(SweepSummary, "/v1/sweeps", given(limit=str(page_size)))

    def sweep(self, sweep_id: str) -> Sweep:
        return self._ask(Sweep, "GET", f"/v1/sweeps/{sweep_id}")

    def cancel_sweep(self, sweep_id: str) -> Sweep:
        return self._ask(Sweep, "POST", f"/v1/sweeps/{sweep_id}/cancel")

    def pause_sweep(self, sweep_id: str) -> Sweep:
        """Pause every job of a sweep that waits or trains."""
        return self._ask(Sweep, "POST", f"/v1/sweeps/{sweep_id}/pause")

    def resume_sweep(self, sweep_id: str) -> Sweep:
        """Let every paused job of a sweep go on from where it was saved."""
        return self._ask(Sweep, "POST", f"/v1/sweeps/{sweep_id}/resume")

    def experiments(self) -> Iterator[Experiment]:
        return self._pages(Experiment, "/v1/experiments", [])

    def components(self, family: str | None = None) -> list[ComponentChoice]:
        """Every choice that a spec can name, or those of one family."""
        path = "/v1/components" + (f"/{family}" if family else "")
        return list(self._pages(ComponentChoice, path, []))

    def compare(self, jobs: Sequence[str | Job] = (), **question: Unpack[Question]) -> Comparison:
        """Put jobs side by side, paired by seed.

        Example:
            >>> client.compare([adam, sgd], target=0.02, score="steps_to_target", claims=["adam < sgd"]).verdict
            'supported'

        """
        parameters = [*_named(jobs), *as_parameters(question)]
        return Comparison.read(self._transport.send("GET", "/v1/comparisons", parameters=parameters).content)

    def report(
        self,
        jobs: Sequence[str | Job] = (),
        *,
        format: Literal["html", "markdown", "csv"] = "html",
        **question: Unpack[Question],
    ) -> str:
        """The same comparison as one self-contained document."""
        parameters = [*_named(jobs), *as_parameters(question), ("format", format)]
        return self._transport.send("GET", "/v1/comparisons/report", parameters=parameters).text

    def verdict(self, claims: Sequence[Claim | dict[str, Any]]) -> Judgement:
        """Judge claims about jobs whose runs have ended, as one family.

        Example:
            >>> steps = {"kind": "metric", "take": "steps_to_target", "target": 0.02}
            >>> claim = {"kind": "less", "left": {**steps, "job": adam.id}, "right": {**steps, "job": sgd.id}}
            >>> client.verdict([claim]).verdict
            'supported'

        """
        told = [claim if isinstance(claim, dict) else claim.model_dump(mode="json") for claim in claims]
        return self._ask(Judgement, "POST", "/v1/verdicts", body={"claims": told})

    # ── the service itself ───────────────────────────────────────────────────────────────────────

    def queue(self) -> Queue:
        return self._ask(Queue, "GET", "/v1/queue")

    def workers(self) -> list[Worker]:
        return list(self._pages(Worker, "/v1/workers", []))

    def health(self) -> Health:
        return self._ask(Health, "GET", "/healthz")

    def readiness(self) -> Readiness:
        """Which of the parts that the service stands on answer."""
        answer = self._transport.send("GET", "/readyz", answers=[httpx2.codes.SERVICE_UNAVAILABLE])
        return self._read(Readiness, answer)


def _plain(spec: Spec) -> dict[str, Any]:
    return spec.model_dump(mode="json") if isinstance(spec, JobSpec) else spec


def _named(jobs: Sequence[str | Job]) -> list[tuple[str, str]]:
    return [("job", id_of(job)) for job in jobs]
