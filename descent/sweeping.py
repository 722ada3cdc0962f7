# Made from descent/asynchronous/sweeping.py: change that file, then `make format`.
"""The client's part for sweeps: one spec over a grid."""

from collections.abc import Iterator, Sequence
from typing import Any

from descent.asking import Asking
from descent.naming import PAGE_SIZE, Spec, as_body, as_header, given
from models.answers import Sweep


class Sweeping(Asking):
    """Sweeps by their id."""

    def submit_sweep(
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
        return self._ask(Sweep, "POST", "/v1/sweeps", body=body, headers=as_header(idempotency_key))

    def sweeps(self, *, page_size: int = PAGE_SIZE) -> Iterator[Sweep]:
        """Iterate over the sweeps, newest first."""
        return self._pages(Sweep, "/v1/sweeps", given(limit=str(page_size)))

    def sweep(self, sweep_id: str) -> Sweep:
        """Fetch a sweep; `jobs(sweep=sweep_id)` iterates over its jobs."""
        return self._ask(Sweep, "GET", f"/v1/sweeps/{sweep_id}")

    def cancel_sweep(self, sweep_id: str) -> Sweep:
        return self._ask(Sweep, "POST", f"/v1/sweeps/{sweep_id}/cancel")

    def pause_sweep(self, sweep_id: str) -> Sweep:
        """Pause every job of a sweep that waits or trains."""
        return self._ask(Sweep, "POST", f"/v1/sweeps/{sweep_id}/pause")

    def resume_sweep(self, sweep_id: str) -> Sweep:
        """Let every paused job of a sweep go on from where it was saved."""
        return self._ask(Sweep, "POST", f"/v1/sweeps/{sweep_id}/resume")
