"""What has been measured and not yet been told: losses on the device, points on the host."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.boundary import Reporter


class History:
    """Gathers a cohort's points and hands them on, window by window. `rows` are positions in the cohort as it began."""

    def __init__(self, reporter: Reporter, runs: int, record_every: int, first: int) -> None:
        """`first` updates were taken, and told, before."""
        self.rows = list(range(runs))
        self._reporter = reporter
        self._record_every = record_every
        self._first = first
        self._losses: list[Tensor] = []
        self._points: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float32]]]] = {}

    def losses(self, values: Tensor) -> None:
        """Take the training losses of the next updates, (S, K), without reading them."""
        self._losses.append(values)

    def evaluation(self, step: int, metrics: dict[str, NDArray[np.float32]]) -> None:
        """Take the metrics of one evaluation, (K,) each."""
        for metric, values in metrics.items():
            self._points.setdefault(metric, []).append((np.array([step]), values[None]))

    def settle(self) -> dict[int, int]:
        """Read the losses; for each run (its column) that diverged, the step of its first non-finite loss.

        The history of such a run is sent to its end here; its caller takes it out of the cohort.
        """
        if not self._losses:
            return {}
        losses = torch.cat(self._losses).cpu().numpy()
        steps = np.arange(self._first + 1, self._first + len(losses) + 1)
        self._first += len(losses)
        self._losses = []
        recorded = steps % self._record_every == 0
        finite = np.isfinite(losses)
        diverged = {int(k): int(np.argmin(finite[:, k])) for k in np.flatnonzero(~finite.all(axis=0))}
        if not diverged:
            self._points.setdefault("train_loss", []).append((steps[recorded], losses[recorded]))
            return {}
        self.send()
        self._tell("train_loss", [k for k in range(len(self.rows)) if k not in diverged], steps, losses, recorded)
        for k, index in diverged.items():
            until = (recorded & (steps <= steps[index])) | (steps == steps[index])
            self._tell("train_loss", [k], steps, losses, until)
        return {k: int(steps[index]) for k, index in diverged.items()}

    def _tell(
        self,
        metric: str,
        columns: Sequence[int],
        steps: NDArray[np.int64],
        values: NDArray[np.float32],
        chosen: NDArray[np.bool_],
    ) -> None:
        if columns and chosen.any():
            rows = [self.rows[k] for k in columns]
            self._reporter.points(metric, rows, steps[chosen], values[chosen][:, columns])

    def send(self) -> None:
        """Hand every point to the reporter."""
        for metric, parts in self._points.items():
            steps = np.concatenate([s for s, _ in parts])
            values = np.concatenate([v for _, v in parts])
            if len(steps):
                self._reporter.points(metric, self.rows, steps, values)
        self._points = {}

    def keep(self, columns: Sequence[int]) -> None:
        """Go on with these runs; everything about the others has been sent."""
        assert not self._points
        self.rows = [self.rows[k] for k in columns]
