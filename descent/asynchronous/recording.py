"""The client's part for what runs leave behind: metrics, snapshots, checkpoints, files."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import overload

from descent.asynchronous import loop
from descent.asynchronous.asking import Asking
from descent.errors import DescentError
from descent.history import History
from descent.naming import given, id_of
from models.answers import Artifact, Checkpoint, Job, JobMetrics, MetricsPage, Run, Snapshot

LONG_POLL_SECONDS = 15.0


class Recording(Asking):
    """Runs by their id, or by the `Run` itself."""

    async def metrics(self, run: str | Run, names: Sequence[str] = ()) -> AsyncIterator[MetricsPage]:
        """Follow a run live, from its first point to its end.

        Every point comes once. A page with a `rollback` takes points back: the run was trained again from an earlier
        step. `History.take` does the bookkeeping.

        Example:
            >>> history = History()
            >>> async for page in client.metrics(run, ["validation_loss"]):
            ...     history.take(page)
            >>> history["validation_loss"].last
            0.0112

        """
        after = ""
        while True:
            page = await self.metrics_page(run, names, after=after, wait=LONG_POLL_SECONDS)
            # A page without anything new is not handed on.
            if page.series or page.rollback or page.is_terminal:
                yield page
            if page.is_terminal:
                return
            # The cursor moves only with a page in hand: one that got lost on the way is asked for again.
            after = page.next_after
            await loop.sleep(page.poll_after_ms / 1000)

    async def history(self, run: str | Run, names: Sequence[str] = ()) -> History:
        """All points that a run has reported so far."""
        history = History()
        after = ""
        while True:
            page = await self.metrics_page(run, names, after=after)
            history.take(page)
            # A page may hold points of other metrics only: what tells the end is a cursor that stands still.
            if page.is_terminal or page.next_after == after:
                return history
            after = page.next_after

    async def metrics_page(
        self, run: str | Run, names: Sequence[str] = (), *, after: str = "", wait: float = 0.0
    ) -> MetricsPage:
        """The points after a cursor; where there are none yet, wait up to `wait` seconds for some."""
        parameters = [("name", name) for name in names]
        parameters += given(after=after or None, wait=f"{wait:g}" if wait else None)
        return await self._ask(MetricsPage, "GET", f"/v1/runs/{id_of(run)}/metrics", parameters)

    async def job_metrics(self, job: str | Job) -> JobMetrics:
        """Mean and interval over a job's runs."""
        return await self._ask(JobMetrics, "GET", f"/v1/jobs/{id_of(job)}/metrics")

    async def snapshots(self, run: str | Run) -> list[Snapshot]:
        return await self._all(Snapshot, f"/v1/runs/{id_of(run)}/snapshots")

    async def checkpoints(self, run: str | Run) -> list[Checkpoint]:
        """From where a run can go on, the newest first."""
        return await self._all(Checkpoint, f"/v1/runs/{id_of(run)}/checkpoints")

    async def artifacts(self, run: str | Run) -> list[Artifact]:
        return await self._all(Artifact, f"/v1/runs/{id_of(run)}/artifacts")

    async def download(self, artifact: Artifact) -> bytes:
        """The bytes of a file that a run left."""
        answer = await self._transport.send("GET", f"/v1/runs/{artifact.run_id}/artifacts/{artifact.id}")
        return answer.content

    @overload
    async def weights(self, run: str | Run) -> bytes: ...
    @overload
    async def weights(self, run: str | Run, path: Path) -> Path: ...
    async def weights(self, run: str | Run, path: Path | None = None) -> bytes | Path:
        """The trained weights as a safetensors file: its bytes, or written to `path`."""
        name = "weights.safetensors"
        found = [artifact for artifact in await self.artifacts(run) if artifact.name == name]
        if not found:
            raise DescentError(f"{id_of(run)} has no {name}: weights are kept once a run has succeeded")
        content = await self.download(found[0])
        if path is None:
            return content
        await loop.in_thread(path.write_bytes, content)
        return path
