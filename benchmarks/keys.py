"""What keys cost, and whether the time of an answer tells that somebody else has what was asked for.

`python -m benchmarks.keys [--json]`: requests of four kinds, interleaved at random, to one API process a database.
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

ASKED = 2_000
"""Requests of each kind."""
JOBS = 200
JOB = {"dataset": "sine", "optimizer": "adam", "budget": {"steps": 10}}
MOST_TOLD = 0.55
"""Of the guesses by time alone that may be right; 0.5 tells nothing."""


def measure(database: str) -> dict[str, Any]:
    """Milliseconds of each kind of request, and how often a guess by the time of an answer would be right."""
    with surroundings(database) as environment, api_process(environment) as (admin, _):
        url = str(admin.base_url)
        keys = {name: admin.post("/v1/keys", json={"owner": name}).json()["key"] for name in ("ada", "bob")}
        with http_client(url, key=keys["ada"]) as ada, http_client(url, key=keys["bob"]) as bob:
            ids = [ada.post("/v1/jobs", json=JOB).json()["id"] for _ in range(JOBS)]
            kinds = {
                "an admin asks for a job": (admin, ids, 200),
                "its owner asks for a job": (ada, ids, 200),
                "another owner asks for it": (bob, ids, 404),
                "somebody asks for no job": (bob, [new_id("job") for _ in ids], 404),
            }
            seconds = _asked(kinds)
    theirs, nobodys = seconds["another owner asks for it"], seconds["somebody asks for no job"]
    right = float(mannwhitneyu(theirs, nobodys).statistic) / (len(theirs) * len(nobodys))
    return {
        "database": database,
        "milliseconds": {kind: 1000 * median(found) for kind, found in seconds.items()},
        "right": max(right, 1 - right),
    }


def _asked(kinds: dict[str, tuple[httpx2.Client, list[str], int]]) -> dict[str, list[float]]:
    order = [kind for kind in kinds for _ in range(ASKED)]
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
    print(f"{'GET /v1/jobs/{id}, ' + format(ASKED, ',') + ' times each':<44} {'sqlite':>10} {'postgresql':>12}")
    for kind in rows[0]["milliseconds"]:
        first, second = (row["milliseconds"][kind] for row in rows)
        print(f"{kind:<44} {first:>7.2f} ms {second:>9.2f} ms")
    told = [row["right"] for row in rows]
    print(f"{'guesses by time, of the last two, that are right':<44} {told[0]:>9.1%} {told[1]:>11.1%}")
    met = "met" if max(told) <= MOST_TOLD else "missed"
    print(f"target {MOST_TOLD:.0%}: {met}")


if __name__ == "__main__":
    main()
