"""The client's part for sweeps: one spec over a grid."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from descent.asynchronous.asking import Asking
from descent.naming import PAGE_SIZE, Spec, as_body, as_header, given
from models.answers import Sweep


class Sweeping(Asking):
    """Sweeps by their id."""

    async def submit_sweep(
        self,
        base: Spec,
        grid: dict[str, list[Any]],
        *,
        name: str = "",
        seeds: int | Sequence[int] | None = None,
        idempotency_key: str | None = None,
    ) -> Sweep:
        """Hand in one job per combination of the grid; its keys are dotted paths such as `optimizer.learning_rate`.

        With the same `idempotency_key` again the same sweep is handed back, as for `submit`.
        """
        body: dict[str, Any] = {"name": name, "base": as_body(base), "grid": grid}
        if seeds is not None:
            body["seeds"] = seeds if isinstance(seeds, int) else list(seeds)
        return await self._ask(Sweep, "POST", "/v1/sweeps", body=body, headers=as_header(idempotency_key))

    def sweeps(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[Sweep]:
        """Iterate over the sweeps, newest first."""
        return self._pages(Sweep, "/v1/sweeps", given(limit=str(page_size)))

    async def sweep(self, sweep_id: str) -> Sweep:
        """Fetch a sweep; `jobs(sweep=sweep_id)` iterates over its jobs."""
        return await self._ask(Sweep, "GET", f"/v1/sweeps/{sweep_id}")

    async def cancel_sweep(self, sweep_id: str) -> Sweep:
        return await self._ask(Sweep, "POST", f"/v1/sweeps/{sweep_id}/cancel")

    async def pause_sweep(self, sweep_id: str) -> Sweep:
        """Pause every job of a sweep that waits or trains."""
        return await self._ask(Sweep, "POST", f"/v1/sweeps/{sweep_id}/pause")

    async def resume_sweep(self, sweep_id: str) -> Sweep:
        """Let every paused job of a sweep go on from where it was saved."""
        return await self._ask(Sweep, "POST", f"/v1/sweeps/{sweep_id}/resume")
