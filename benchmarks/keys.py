"""Measure what authentication costs, and whether response times reveal the jobs of other owners.

`python -m benchmarks.keys [--json]`: requests of four kinds, interleaved at random, to one API process per database.
"""

import argparse
import json
import random
import time
from statistics import median
from typing import Any

import httpx2
from scipy.stats import mannwhitneyu

from benchmarks.api_process import api_process, surroundings
from models.tables import new_id
from tests.servers import http_client

REQUESTS = 2_000
"""Requests of each kind."""
JOBS = 200
JOB = {"dataset": "sine", "optimizer": "adam", "budget": {"steps": 10}}
MOST_CORRECT = 0.55
"""Target for the share of correct guesses from response times; 0.5 is chance."""


def measure(database: str) -> dict[str, Any]:
    """Return the milliseconds of each kind of request, and the share of correct guesses from response times."""
    with surroundings(database) as environment, api_process(environment) as (admin, _):
        url = str(admin.base_url)
        keys = {name: admin.post("/v1/keys", json={"owner": name}).json()["key"] for name in ("ada", "bob")}
        with http_client(url, key=keys["ada"]) as ada, http_client(url, key=keys["bob"]) as bob:
            ids = [ada.post("/v1/jobs", json=JOB).json()["id"] for _ in range(JOBS)]
            kinds = {
                "a job, with a key of an admin": (admin, ids, 200),
                "a job, with a key of its owner": (ada, ids, 200),
                "a job, with a key of another owner": (bob, ids, 404),
                "a job that does not exist": (bob, [new_id("job") for _ in ids], 404),
            }
            seconds = _seconds(kinds)
    existing, absent = seconds["a job, with a key of another owner"], seconds["a job that does not exist"]
    correct = float(mannwhitneyu(existing, absent).statistic) / (len(existing) * len(absent))
    return {
        "database": database,
        "milliseconds": {kind: 1000 * median(found) for kind, found in seconds.items()},
        "correct": max(correct, 1 - correct),
    }


def _seconds(kinds: dict[str, tuple[httpx2.Client, list[str], int]]) -> dict[str, list[float]]:
    order = [kind for kind in kinds for _ in range(REQUESTS)]
    draws = random.Random(0)
    draws.shuffle(order)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for kind in order:
        client, ids, status = kinds[kind]
        path = f"/v1/jobs/{draws.choice(ids)}"
        began = time.perf_counter()
        assert client.get(path).status_code == status
        seconds[kind].append(time.perf_counter() - began)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    rows = [measure(database) for database in ("sqlite", "postgresql")]
    if arguments.json:
        print(json.dumps({"keys": rows}))
        return
    print(f"{'GET /v1/jobs/{id}, ' + format(REQUESTS, ',') + ' times each':<44} {'sqlite':>10} {'postgresql':>12}")
    for kind in rows[0]["milliseconds"]:
        first, second = (row["milliseconds"][kind] for row in rows)
        print(f"{kind:<44} {first:>7.2f} ms {second:>9.2f} ms")
    shares = [row["correct"] for row in rows]
    print(f"{'correct guesses which of the last two':<44} {shares[0]:>9.1%} {shares[1]:>11.1%}")
    met = "met" if max(shares) <= MOST_CORRECT else "missed"
    print(f"target {MOST_CORRECT:.0%}: {met}")


if __name__ == "__main__":
    main()
