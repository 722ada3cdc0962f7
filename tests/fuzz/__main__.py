"""`python -m tests.fuzz`: thousands of requests, well-formed and ill-formed, made from the OpenAPI document.

Every answer has to be one that the document declares, of the form that it declares, and never one of ours that failed.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.access import Scope
from tests.datasets import passengers
from tests.journey.service import running_service
from tests.servers import KEY, http_client, migrate, running_valkey

FORGIVING = {
    f"DESCENT_{name}": "1000000"
    for name in (
        "FAILURES_A_MINUTE",
        "ANONYMOUS_A_MINUTE",
        "WRITES_A_MINUTE",
        "READS_A_MINUTE",
        "OWNER_PROCESSOR_SECONDS",
    )
}
"""Raised limits: the fuzzer sends thousands of requests, some with invalid keys."""
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
TINY = {"dataset": "sine", "optimizer": "adam", "budget": {"steps": 20}, "seeds": 2}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=200, help="of each operation and phase, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, help="where to leave what was found, as JSON")
    parser.add_argument("--scope", type=Scope, choices=list(Scope), default=Scope.ADMIN, help="of the key that is used")
    asked = parser.parse_args()
    with service_with_something_to_find() as (url, keys):
        return fuzz(url, asked.cases, key=keys[asked.scope], seed=asked.seed, report=asked.report)


@contextmanager
def service_with_something_to_find() -> Iterator[tuple[str, dict[Scope, str]]]:
    """Run an API on SQLite where one owner has jobs that have ended, one that waits, a sweep and a data set.

    Yields:
        Its address, and a key of each scope.

    """
    with tempfile.TemporaryDirectory(prefix="descent-fuzz-") as name, running_valkey(Path(name)) as valkey:
        database = f"sqlite:///{name}/descent.sqlite3"
        migrate(database, Path(name))
        with running_service(Path(name), database, valkey, FORGIVING) as service:
            worker = service.start_worker()
            with http_client(service.url, timeout=60) as admin:
                made = {scope: admin.post("/v1/keys", json={"owner": "ada", "scope": scope}).json() for scope in Scope}
            keys = {scope: key["key"] for scope, key in made.items()} | {Scope.ADMIN: KEY}
            with http_client(service.url, key=keys[Scope.SUBMIT], timeout=60) as http:
                http.post("/v1/datasets", params={"name": "passengers"}, content=passengers()).raise_for_status()
                job = http.post("/v1/jobs", json=TINY | {"name": "ended", "experiment": "fuzz"}).raise_for_status()
                while not http.get(f"/v1/jobs/{job.json()['id']}").json()["is_terminal"]:
                    pass
                worker.terminate()
                worker.wait()
                http.post("/v1/jobs", json=TINY | {"name": "waiting"}).raise_for_status()
                http.post("/v1/sweeps", json={"base": TINY, "grid": {"batch_size": [8, 16]}}).raise_for_status()
            yield service.url, keys


def fuzz(
    url: str,
    cases: int,
    *,
    key: str,
    seed: int = 0,
    report: Path | None = None,
    phases: str = "examples,coverage,fuzzing,stateful",
) -> int:
    """Ask in every way that the document allows, and in some that it does not; the exit code of schemathesis."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"]
    command += [f"{url}/openapi.json", "--max-examples", str(cases), "--phases", phases]
    command += ["--header", f"Authorization: Bearer {key}"]
    command += ["--seed", str(seed), "--no-color"]
    if report is not None:
        command += ["--report", "json", "--report-json-path", str(report)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
