"""A run that has succeeded, made without training: for tests of what its network is asked for."""

from typing import Any

import httpx2
from safetensors.numpy import save

from models.database import Database
from models.settings import Settings
from models.spec.job import JobSpec
from models.storage import Storage
from models.tables import WEIGHTS, Artifact, new_id, now
from tests.api.fake_worker import FakeWorker


def succeeded_run(api: httpx2.Client, database: Database, settings: Settings, spec: dict[str, Any]) -> str:
    """Submit a job of one run, finish it, and name an artifact for its weights; return the id of the run."""
    job = api.post("/v1/jobs", json=spec)
    assert job.status_code == 202, job.text
    worker = FakeWorker.of(database, settings)
    (run,) = worker.claim()
    run.finish()
    worker.client.close()
    with database.write() as session:
        session.add(
            Artifact(
                id=new_id("artifact"),
                run_id=run.claimed.id,
                name=WEIGHTS,
                media_type="application/octet-stream",
                size=1,
                sha256="0" * 64,
                storage_key=_weights_key(run.claimed.id),
                created_at=now(),
            )
        )
    return run.claimed.id


def store_initial_weights(settings: Settings, run_id: str, spec: dict[str, Any]) -> None:
    """Put the weights that a run begins with into storage, as if training had changed nothing."""
    import torch

    from worker.training import networks

    network = networks.build(JobSpec.model_validate(spec))
    tensors = network.named(torch.from_numpy(network.initial(0)))
    Storage(settings.storage_url).write(_weights_key(run_id), save(tensors))


def _weights_key(run_id: str) -> str:
    return f"runs/{run_id}/1/{WEIGHTS}"
