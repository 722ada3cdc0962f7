"""How people name a job: by its id, the beginning of its id, or its name."""

from collections.abc import Sequence
from itertools import islice

from descent.client import Client
from descent.errors import DescentError, Refused
from models.answers import Job

NEWEST = 1_000
"""Names and beginnings are looked for among this many jobs."""
_PREFIX = "job_"
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
