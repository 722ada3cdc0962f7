"""What both sides need to find each other. Every setting is an environment variable `DESCENT_<NAME>`."""

from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url

from models.logs import LogFormat

_SECRETS = Path("/run/secrets")


class Settings(BaseSettings):
    """Read once per process. A file /run/secrets/descent_<name> sets <name> too, so secrets stay out of `ps`."""

    model_config = SettingsConfigDict(
        env_prefix="DESCENT_",
        secrets_dir=_SECRETS if _SECRETS.is_dir() else None,
        frozen=True,
        use_attribute_docstrings=True,
    )

    database_url: str = "sqlite:///.descent/descent.sqlite3"
    """SQLAlchemy URL of the run history: SQLite on one host, `postgresql+psycopg://…` for many."""
    database_password: SecretStr | None = None
    """Replaces the password of `database_url`."""
    broker_url: str = "redis://127.0.0.1:6379/0"
    """Redis that carries Celery's wake-ups: `redis://host:6379/0` or `redis+socket:///path?virtual_host=0`."""
    broker_password: SecretStr | None = None
    """Replaces the password of `broker_url`."""
    metrics_url: str = "redis://127.0.0.1:6379/1"
    """Redis that carries live metrics: `redis://host:6379/1` or `unix:///path?db=1`."""
    metrics_password: SecretStr | None = None
    """Replaces the password of `metrics_url`."""
    storage_url: str = ".descent/storage"
    """Where artifacts live: a folder, or any fsspec URL such as `s3://bucket/prefix`."""

    scratch_dir: str = ""
    """Where uploads lie while they are read; empty: the system's folder for temporary files."""
    max_upload_bytes: int = Field(512 * 1024**2, gt=0)
    """Bytes of one upload."""
    max_parsers: int = Field(2, gt=0)
    """Uploads that one API process reads at once; others wait."""
    parser_memory_bytes: int = Field(4 * 1024**3, gt=0)
    """Address space of the process that reads an upload."""
    parser_cpu_seconds: int = Field(300, gt=0)
    """Processor time of the process that reads an upload; it may take twice as long by the clock."""
    max_inflated_bytes: int = Field(2 * 1024**3, gt=0)
    """Bytes that an upload may unpack to, and that its rows may take on disk."""
    max_inflation: int = Field(100, gt=0)
    """How many times larger than in the archive a file of more than 10 MiB may be."""
    max_archive_entries: int = Field(200_000, gt=0)
    """Files in an uploaded archive."""
    max_dataset_rows: int = Field(10_000_000, gt=0)
    """Rows of one data set."""
    max_dataset_columns: int = Field(10_000, gt=0)
    """Columns of one data set."""
    max_dataset_classes: int = Field(1_000, gt=0)
    """Values of a category; text of more is not learned from."""
    max_line_bytes: int = Field(1024**2, gt=0)
    """The longest line of an uploaded text file."""
    max_image_pixels: int = Field(4_000_000, gt=0)
    """Pixels of one uploaded image."""

    admin_key: SecretStr | None = None
    """Opens everything: at least 32 letters, digits, `_` and `-`. Without one the API does not start."""
    failures_a_minute: int = Field(30, gt=0)
    """Invalid keys that one address may send per minute; further ones get 429."""
    anonymous_a_minute: int = Field(600, gt=0)
    """Unauthenticated requests of one address per minute that get a response at once, half of them in a burst; further
    ones are delayed by a second."""
    reads_a_minute: int = Field(60_000, gt=0)
    """Requests that look at something, of one owner; this and the following bind everybody but admins."""
    writes_a_minute: int = Field(600, gt=0)
    """Requests that change something, of one owner: a sweep is one."""
    max_queued_runs: int = Field(20_000, gt=0)
    """Runs of one owner that may wait at once."""
    max_running_runs: int = Field(10_000, gt=0)
    """Runs of one owner that train at once, admins' too; others wait."""
    max_owner_requests: int = Field(100, gt=0)
    """Concurrent requests of one owner in one API process."""
    max_owner_threads: int = Field(4, gt=0)
    """Threads of one API process that one owner can use at once; further requests wait. CPU-bound requests use one."""
    owner_processor_seconds: float = Field(30.0, gt=0)
    """Processor time in seconds that requests of one owner may use of one API process in a burst."""
    owner_processor_share: float = Field(0.5, gt=0)
    """Processor time in seconds per second that an owner may use after a burst."""
    max_owner_streams: int = Field(50, gt=0)
    """Concurrent event streams, long polls and downloads of one owner in one API process."""
    max_owner_uploads: int = Field(2, gt=0)
    """Concurrent uploads of one owner in one API process."""
    max_stored_bytes: int = Field(20 * 1024**3, gt=0)
    """Bytes in storage of one owner's data sets, artifacts and checkpoints, with what unfinished runs are expected to
    add."""

    max_connections: int = Field(4_000, gt=0)
    """Connections of one API process. At the limit, the one that has waited longest for a request is closed to admit a
    new one; if none is waiting, the new one gets 503."""
    max_address_connections: int = Field(256, gt=0)
    """Connections of one client address, or concurrent requests where it comes through a trusted proxy."""
    head_seconds: float = Field(5.0, gt=0)
    """Within which the head of a request has to arrive."""
    body_seconds: float = Field(30.0, gt=0)
    """For which a request's body may be waited for, beside the time that `body_bytes_a_second` gives it."""
    body_bytes_a_second: int = Field(16 * 1024, gt=0)
    """The slowest at which a body may come in."""
    send_seconds: float = Field(30.0, gt=0)
    """For which nothing of an answer can be sent before its connection is cut."""
    max_streams: int = Field(1_000, gt=0)
    """Concurrent event streams, long polls and downloads of one API process; further ones get 503."""
    trusted_proxies: list[str] = []
    """Addresses of reverse proxies whose X-Forwarded-For tells where a request comes from."""
    allowed_hosts: list[str] = ["127.0.0.1", "localhost", "::1"]
    """Host headers that the API answers to; keeps other people's web pages from reaching it by DNS rebinding."""

    log_format: LogFormat = "auto"
    """How logs read: `text`, `json`, or `auto` for text at a terminal and JSON elsewhere."""

    worker_device: str = "auto"
    """Device of a worker process: `cpu`, `cuda`, `mps`, or `auto` for CUDA where there is one, else the CPU."""
    worker_threads: int = Field(0, ge=0, le=256)
    """Threads of one training process; 0 for one thread, and for large networks its share of the cores."""
    worker_memory_bytes: int = Field(2 * 1024**3, gt=0)
    """Memory that one cohort may take on a CPU."""
    device_memory_share: float = Field(0.8, gt=0, le=1)
    """Of a CUDA device's memory, the share that one cohort may take."""
    worker_cache_dir: str = "~/.cache/descent/datasets"
    """Where a worker keeps copies of data sets, if storage is not a folder of its machine."""
    worker_cache_bytes: int = Field(50 * 1024**3, gt=0)
    """What these copies may take together; those that were not used for longest go first."""
    max_job_memory_bytes: int = Field(8 * 1024**3, gt=0)
    """Memory that one run may ask for; larger specs are refused when submitted."""

    max_body_bytes: int = Field(256 * 1024, gt=0, le=16 * 1024**2)
    """Bytes of the body of a request, uploads aside."""
    max_layers: int = Field(64, gt=0, le=64)
    """Layers of a network; this and the following, down to those of sweeps, can lie below what Descent can do."""
    max_width: int = Field(8_192, gt=0, le=8_192)
    """Units or channels of one layer."""
    max_parameters: int = Field(50_000_000, gt=0, le=50_000_000)
    """Weights of one network."""
    max_steps: int = Field(10_000_000, gt=0, le=10_000_000)
    """Steps of one run."""
    max_epochs: int = Field(10_000, gt=0, le=10_000)
    """Epochs of a budget that is given in epochs."""
    max_batch_rows: int = Field(65_536, gt=0, le=65_536)
    """Rows of one batch; "full" takes the whole training split."""
    max_job_runs: int = Field(1_000, gt=0, le=1_000)
    """Runs of one job."""
    max_sweep_jobs: int = Field(1_000, gt=0, le=1_000)
    """Jobs of one sweep."""
    max_sweep_runs: int = Field(10_000, gt=0, le=10_000)
    """Runs of one sweep."""

    prediction_seconds: float = Field(15.0, gt=0)
    """How long an answer to a request for predictions may take."""
    max_prediction_rows: int = Field(10_000, gt=0)
    """Rows of one request for predictions."""
    max_prediction_operations: int = Field(50_000_000_000, gt=0)
    """Work of one request for predictions: rows × (multiply-adds of the network + 50 × its inputs and activations). The
    default takes about a second."""
    max_prediction_outputs: int = Field(200_000, gt=0)
    """Numbers that the answer to one request for predictions may hold: rows × classes."""

    heartbeat_seconds: float = Field(10.0, gt=0)
    """How often a worker renews its hold on its runs."""
    lease_seconds: float = Field(30.0, gt=0)
    """A run whose heartbeat stands still for this long goes back to the queue."""
    drain_seconds: float = Field(25.0, gt=0)
    """How long a worker that was asked to stop takes to save what it trains; what is not saved then goes on from its
    last checkpoint elsewhere."""
    stall_seconds: float = Field(45.0, gt=0)
    """A training process whose runs report nothing for this long, and for as long as their largest step may take, is
    ended."""
    storage_patience_seconds: float = Field(60.0, gt=0)
    """How long a worker tries to store what an ended run leaves before the run fails."""

    checkpoint_seconds: float = Field(30.0, gt=0)
    """How often a cohort in training is saved."""
    checkpoint_steps: int = Field(0, ge=0)
    """Saved after so many steps, too; 0: by time alone."""
    kept_checkpoints: int = Field(2, ge=1)
    """Checkpoints that a run keeps while it has not ended: the newest ones."""
    final_checkpoint_days: float = Field(7.0, ge=0)
    """How long an ended run keeps its checkpoints, from which a larger budget lets it go on."""
    history_days: float = Field(0.0, ge=0)
    """How long the points and snapshots of an ended run are kept; 0: for good."""
    artifact_days: float = Field(0.0, ge=0)
    """How long the weights and predictions of an ended run are kept; 0: for good."""
    orphan_hours: float = Field(24.0, gt=0)
    """Files in storage that nothing names go once they are this old: a younger one may be about to be named."""

    stream_seconds: float = Field(24 * 3600.0, gt=0)
    """How long a finished run's live metrics stay in Redis; the history in SQL stays for good."""

    def database(self) -> URL:
        url = make_url(self.database_url)
        return url.set(password=self.database_password.get_secret_value()) if self.database_password else url

    def broker(self) -> str:
        return _with_password(self.broker_url, self.broker_password)

    def metrics(self) -> str:
        return _with_password(self.metrics_url, self.metrics_password)


def _with_password(url: str, password: SecretStr | None) -> str:
    if password is None:
        return url
    parsed = make_url(url)
    # Redis knows passwords without a user; a URL that has no user at all would be written without its password.
    named = parsed.set(username=parsed.username or "", password=password.get_secret_value())
    return named.render_as_string(hide_password=False)


@lru_cache
def settings() -> Settings:
    return Settings()
