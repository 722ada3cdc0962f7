"""The runs that are analysed at once, with their weights and their data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from models.spec.analyses import Analysis, LaterAnalysis
from models.spec.job import JobSpec
from models.spec.plan import plan
from worker.training import networks
from worker.training.analyses.networks import TrainedRun, Weights
from worker.training.analyses.objective import Objective
from worker.training.cohort_data import CohortData, prepare
from worker.training.cost import threads_for
from worker.training.networks import Network
from worker.training.randomness import Member
from worker.training.splits import Round
from worker.training.stored import StoredData
from worker.training.threads import threads

MOST_BYTES = 1 << 31
"""What the runs of a group may take, going by what they took in training."""

ABOUT: Mapping[str, Any] = {"dtype": "float64", "mode": "evaluation"}


@dataclass(frozen=True)
class Subjects:
    """K runs that share a cohort key."""

    specs: Sequence[JobSpec]
    members: Sequence[Member]
    network: Network
    weights: Weights
    data: CohortData

    def objective(self, split: str, rows: int) -> Objective:
        """The losses on the first rows of a split."""
        source = self.data.training if split == "training" else self.data.validation
        count = min(rows, source.shape[1])
        inputs, targets = source.between(0, count)[..., :-1].double(), source.targets[:, :count].double()
        return Objective(self.specs[0], self.network, self.weights, inputs, targets)

    def on_rows(self, analysis: Analysis | LaterAnalysis) -> tuple[Objective, dict[str, Any]]:
        """The losses on the rows that an analysis asks for, and what its details say of them."""
        objective = self.objective(analysis.split, analysis.rows)
        return objective, {"split": analysis.split, "rows": objective.rows, **ABOUT}


@contextmanager
def as_alone(spec: JobSpec) -> Iterator[None]:
    """Compute on the threads that a run of this spec has to itself: for a small network one.

    Spread over several, its products gain little, and wait for each other for long on a busy machine.
    """
    with threads(threads_for(spec, 1, torch.get_num_threads())):
        yield


def in_groups(
    specs: Sequence[JobSpec],
    members: Sequence[Member],
    weights: Sequence[TrainedRun],
    rounds: Sequence[Round | None] | None,
    stored: StoredData | None,
    streams: bool,
) -> Iterator[Subjects]:
    """As many runs at a time as fit in memory, in their order."""
    work, network = plan(specs[0]), networks.build(specs[0])
    at_once = max(1, MOST_BYTES // (work.least_bytes if streams else work.memory_bytes))
    for start in range(0, len(specs), at_once):
        part = slice(start, start + at_once)
        data = prepare(
            specs[part], members[part], "cpu", rounds[part] if rounds else None, stored=stored, streams=streams
        )
        read = Weights.read(network, specs[part], weights[part])
        yield Subjects(specs[part], members[part], network, read, data)
