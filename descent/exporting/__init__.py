"""Runs in the words of other tools: MLflow's tracking, TensorBoard's event files."""

from importlib.util import find_spec
from pathlib import Path

from descent.client import Client
from descent.errors import DescentError
from descent.exporting.told import Exported
from models.answers import Job

__all__ = ["Exported", "to_mlflow", "to_tensorboard"]


def to_mlflow(client: Client, job: str | Job, destination: str | Path, *, artifacts: bool = True) -> list[Exported]:
    """Write each run of a job to MLflow: every point, the spec, final and best values, and the files that it left.

    `destination` is the address of a tracking server, the URI of a store, or a folder, where MLflow's own store
    (`mlflow.db`) is made if there is none. A run that is there already, by its tag `descent.run_id`, is completed; one
    that contradicts what the service tells now, because it was extended or trained again, goes to MLflow's trash and is
    written anew. Without `artifacts` no files are written.

    Raises:
        DescentError: if MLflow is not installed, or refuses.

    Example:
        >>> to_mlflow(client, job, "http://127.0.0.1:5000")[0].outcome
        'written'

    """
    _demand("mlflow")
    from descent.exporting import mlflow_runs

    return mlflow_runs.write(client, client.job(job) if isinstance(job, str) else job, destination, artifacts=artifacts)


def to_tensorboard(client: Client, job: str | Job, folder: str | Path) -> list[Exported]:
    """Write each run of a job to a folder of its own in `folder`, for TensorBoard: every point, the spec as text and as
    hyperparameters, final and best values. What an earlier export wrote of a run is replaced.

    Raises:
        DescentError: if TensorBoard is not installed, or the folder cannot be written to.

    Example:
        >>> to_tensorboard(client, job, "events")[0].outcome
        'written'

    """
    _demand("tensorboard")
    from descent.exporting import tensorboard_files

    return tensorboard_files.write(client, client.job(job) if isinstance(job, str) else job, Path(folder))


def _demand(package: str) -> None:
    """The extra has the package's name."""
    if find_spec(package) is None:
        raise DescentError(f"This takes {package}: `pip install 'descent[{package}]'`.")
