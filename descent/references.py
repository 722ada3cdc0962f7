"""How people name a job or a data set: by its id, the beginning of its id, or its name."""

from collections.abc import Sequence
from itertools import islice

from descent.client import Client
from descent.errors import DescentError, Refused
from models.answers import Dataset, Job, Run
from models.status import RunStatus

NEWEST = 1_000
"""Names and beginnings are looked for among this many jobs."""
_PREFIX = "job_"
_RUN_PREFIX = "run_"
_DATASET_PREFIX = "dataset_"
_NOT_FOUND = 404


def find_job(client: Client, reference: str) -> Job:
    """The one job that a reference means.

    Raises:
        DescentError: if none is meant, or several are.

    """
    if reference.startswith(_PREFIX):
        try:
            return client.job(reference)
        except Refused as error:
            if error.problem.status != _NOT_FOUND:
                raise
    newest = list(islice(client.jobs(), NEWEST))
    meant = [job for job in newest if job.name == reference]
    if not meant and len(reference) > len(_PREFIX):
        meant = [job for job in newest if job.id.startswith(reference)]
    if len(meant) == 1:
        return meant[0]
    if not meant:
        raise DescentError(f"No job is called {reference!r}. `descent jobs` lists them.")
    listed = "\n".join(f"  {job.id}  {job.created_at:%Y-%m-%d %H:%M}  {job.status}" for job in meant[:10])
    raise DescentError(f"{len(meant)} jobs are called {reference!r}; take an id:\n{listed}")


def find_jobs(client: Client, references: Sequence[str]) -> list[Job]:
    return [find_job(client, reference) for reference in references]


def find_run(client: Client, reference: str) -> Run:
    """The one run that a reference means, be it by its own id or as the only one of a job that has succeeded.

    Raises:
        DescentError: if none is meant, or several are.

    """
    if reference.startswith(_RUN_PREFIX):
        return client.run(reference)
    job = find_job(client, reference)
    called = job.name or job.id
    succeeded = [run for run in client.runs(job) if run.status is RunStatus.SUCCEEDED]
    if len(succeeded) == 1:
        return succeeded[0]
    if not succeeded:
        raise DescentError(f"No run of {called} has succeeded yet.")
    listed = "\n".join(f"  {run.id}  seed {run.seed}, run {run.member}" for run in succeeded[:10])
    raise DescentError(f"{len(succeeded)} runs of {called} have succeeded; take an id:\n{listed}")


def find_dataset(client: Client, reference: str) -> Dataset:
    """The one data set that a reference means.

    Raises:
        DescentError: if none is meant, or several are.

    """
    try:
        return client.dataset(reference)
    except Refused as error:
        if error.problem.status != _NOT_FOUND:
            raise
    newest = list(islice(client.datasets(), NEWEST))
    # A name with a slash is no part of a path, however it is written.
    meant = [dataset for dataset in newest if dataset.name == reference]
    if not meant and reference.startswith(_DATASET_PREFIX):
        meant = [dataset for dataset in newest if dataset.id.startswith(reference)]
    if len(meant) == 1:
        return client.dataset(meant[0].id)
    if not meant:
        raise DescentError(f"No data set is called {reference!r}. `descent datasets list` shows them.")
    listed = "\n".join(f"  {dataset.id}  {dataset.name}" for dataset in meant[:10])
    raise DescentError(f"{len(meant)} data sets begin with {reference!r}; take more of an id:\n{listed}")
