"""Labs run through the whole service: jobs are trained, measured, opened where a claim needs it, and judged."""

import io

import pytest
from rich.console import Console

from descent import Client
from descent.lab_runs import run_lab
from models import labs


@pytest.mark.parametrize("name", ["batch-size", "cross-validation", "optimizers"])
def test_a_lab_comes_to_a_verdict_with_its_effects_and_what_it_cost(client: Client, name: str) -> None:
    console = Console(file=io.StringIO())
    result, jobs = run_lab(client, labs.shipped()[name], console, quick=True)
    assert (result.lab, result.quick) == (name, True)
    assert result.verdict in ("supported", "refuted", "undecided")
    assert len(result.claims) == len(labs.shipped()[name].as_quick().family)
    for claim in result.claims:
        assert claim.seeds >= 2
        assert claim.statement in claim.sentence or claim.verdict == "refuted"
    assert sum(one.runs for one in result.jobs) == sum(len(client.runs(job)) for job in jobs)
    opened = {look.job_id for look in client.test_ledger()}
    assert opened >= {job.id for job in jobs if job.name in labs.shipped()[name].to_open}
    if name == "batch-size":
        assert not opened & {job.id for job in jobs}, "no test is opened that no claim is about"
