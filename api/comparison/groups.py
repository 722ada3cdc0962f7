"""Which jobs are one contender: those alike in all but seeds, and across data sets those alike in all but the data."""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import NamedTuple

from api.comparison.history import JobHistory
from models.spec.job import digest


def grouped(jobs: Sequence[JobHistory]) -> list[JobHistory]:
    """Put jobs together that differ in seeds alone, in the order of their first ones.

    Jobs that share a seed stay apart, whatever else they share: a seed trained twice is no second seed.
    """
    seeds = {job.job_id: set(job.seeds) for job in jobs}
    return [
        _joined(group)
        for group in _assembled(jobs, {"seeds"}, lambda a, b: seeds[a.job_id].isdisjoint(seeds[b.job_id]))
    ]


def _assembled(
    jobs: Sequence[JobHistory], but: Set[str], fit: Callable[[JobHistory, JobHistory], bool]
) -> list[list[JobHistory]]:
    """Groups of jobs that are alike in all but these fields, each of which fits every other of its group."""
    groups: list[list[JobHistory]] = []
    by_spec: dict[str, list[list[JobHistory]]] = {}
    for job in jobs:
        alike = by_spec.setdefault(digest({k: v for k, v in job.canonical.items() if k not in but}), [])
        for group in alike:
            if all(fit(job, other) for other in group):
                group.append(job)
                break
        else:
            alike.append([job])
            groups.append(alike[-1])
    return groups


def _joined(group: Sequence[JobHistory]) -> JobHistory:
    if len(group) == 1:
        return group[0]
    first = group[0]
    seeds = tuple(seed for job in group for seed in job.spec.seeds)
    return JobHistory(
        job_id=first.job_id,
        name=first.name,
        spec=first.spec.model_copy(update={"seeds": seeds}),
        runs=tuple(run for job in group for run in job.runs),
        snapshots={run_id: taken for job in group for run_id, taken in job.snapshots.items()},
        more_jobs=tuple(job.job_id for job in group[1:]),
    )


class Contender(NamedTuple):
    """A job, or its likes on several data sets."""

    label: str
    jobs: list[JobHistory]

    @property
    def job_ids(self) -> list[str]:
        return [job_id for job in self.jobs for job_id in job.job_ids]


def across_datasets(jobs: Sequence[JobHistory], names: Mapping[str, str]) -> list[Contender]:
    """Jobs alike in all but data set and seeds together, one a data set; without a second data set each for itself."""
    datasets = {job.job_id: digest(job.canonical["dataset"]) for job in jobs}
    if len(set(datasets.values())) == 1:
        return [Contender(names[job.job_id], [job]) for job in jobs]
    groups = _assembled(jobs, {"seeds", "dataset"}, lambda a, b: datasets[a.job_id] != datasets[b.job_id])
    return [Contender(_label(group, names), group) for group in groups]


def _label(group: Sequence[JobHistory], names: Mapping[str, str]) -> str:
    """The name that all of them bear, else that of the first and how many more."""
    if len(group) > 1 and group[0].name and len({job.name for job in group}) == 1:
        return group[0].name
    return names[group[0].job_id] if len(group) == 1 else f"{names[group[0].job_id]} and {len(group) - 1} more"
