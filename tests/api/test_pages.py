"""Cursors that this server did not write, at every route that takes one."""

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from api.errors import Refusal
from api.pages import Key, decode, encode
from tests.api.specs import SPEC, spec

MOMENT = datetime(2026, 11, 30, 12, tzinfo=UTC)
ISO = MOMENT.isoformat()


def forged(text: str, checksum: str | None = None) -> str:
    """A cursor of any text, with the right checksum: it is no secret."""
    content = text.encode(errors="surrogatepass")
    given = checksum or hashlib.blake2b(content, digest_size=6).hexdigest()
    return base64.urlsafe_b64encode(given.encode() + content).decode().rstrip("=")


FORGED = {
    "not base64": "?",
    "not UTF-8": "_____w",
    "not ASCII": "é",
    "cut off": encode(Key(MOMENT, "job_1"))[:-4],
    "wrong checksum": forged(json.dumps([ISO, "job_1"]), "0" * 12),
    "no JSON": forged("job_1"),
    "no list": forged('"job_1"'),
    "an object": forged(json.dumps({"moment": ISO, "name": "job_1"})),
    "too short": forged(json.dumps([ISO])),
    "too long": forged(json.dumps([ISO, "job_1", 1])),
    "a list as name": forged(json.dumps([ISO, ["job_1"]])),
    "an object as name": forged(json.dumps([ISO, {"a": 1}])),
    "a number as name": forged(json.dumps([ISO, 1])),
    "null as name": forged(json.dumps([ISO, None])),
    "true as name": forged(json.dumps([ISO, True])),
    "a long name": forged(json.dumps([ISO, "x" * 201])),
    "NUL in the name": forged(json.dumps([ISO, "job\0"])),
    "an escaped lone surrogate": forged(json.dumps([ISO, "\ud800"])),
    "a lone surrogate": forged(json.dumps([ISO, "\ud800"], ensure_ascii=False)),
    "a number as moment": forged(json.dumps([1_764_504_000, "job_1"])),
    "digits as moment": forged(json.dumps(["1764504000", "job_1"])),
    "no date": forged(json.dumps(["yesterday", "job_1"])),
    "a list as moment": forged(json.dumps([[ISO], "job_1"])),
    "before year 1": forged(json.dumps(["0001-01-01T00:00:00+14:00", "job_1"])),
    "after year 9999": forged(json.dumps(["9999-12-31T23:59:59-14:00", "job_1"])),
    "year 0": forged(json.dumps(["0000-01-01T00:00:00+00:00", "job_1"])),
    "another zone": forged(json.dumps(["2026-11-30T13:00:00+01:00", "job_1"])),
    "no zone": forged(json.dumps(["2026-11-30T12:00:00", "job_1"])),
    "a huge number": forged(f'["{ISO}", {10**400}]'),
    "infinity": forged(f'["{ISO}", 1e999]'),
    "NaN": forged(f'["{ISO}", NaN]'),
    "nested deeply": forged("[" * 800),
    "numbers and a dash": "1-2-3",
    "numbers beyond 64 bits": f"1-{2**64}",
    "negative numbers": "-1-1",
    "other digits": "١-٢",
}


def paths_with_cursors(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and parameter of every route that takes a cursor."""
    for path, operations in document["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", []):
            if parameter["name"] in ("after", "last-event-id"):
                yield path, parameter["name"]


def test_no_route_takes_a_cursor_that_this_server_did_not_write(api: httpx2.Client) -> None:
    job = api.post("/v1/jobs", json=SPEC).json()["id"]
    run = api.get(f"/v1/jobs/{job}/runs").json()["data"][0]["id"]
    routes = list(paths_with_cursors(api.get("/openapi.json").json()))
    assert len(routes) >= 9
    for path, parameter in routes:
        address = path.format(job_id=job, run_id=run)
        for what, cursor in FORGED.items():
            if parameter == "after":
                answer = api.get(address, params={"after": cursor})
            elif cursor.isascii():
                answer = api.get(address, headers={parameter: cursor})
            problem = answer.json()
            assert answer.status_code == 422, (path, what, problem)
            codes = {error["code"] for error in problem["errors"]}
            assert codes <= {"not_a_cursor", "string_too_long"}, (path, what, problem)


def test_a_list_of_experiments_with_long_names_is_paged(api: httpx2.Client) -> None:
    names = ["é" * 200, "🜛" * 200, 'a "quoted" / name']
    for name in names:
        assert api.post("/v1/jobs", json=spec(experiment=name)).status_code == 202
    found, after = [], ""
    while True:
        page = api.get("/v1/experiments", params={"limit": 1, "after": after}).json()
        found += [experiment["name"] for experiment in page["data"]]
        if not page["has_more"]:
            break
        after = page["next_after"]
    assert sorted(found) == sorted(names)


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=200)
MOMENTS = st.timedeltas(timedelta(0), timedelta(days=36_500)).map(lambda age: datetime(2000, 1, 1, tzinfo=UTC) + age)


@given(MOMENTS, NAMES)
def test_a_cursor_is_read_back(moment: datetime, name: str) -> None:
    assert decode(encode(Key(moment, name))) == Key(moment, name)


@examples(max_examples=300)
@given(
    st.one_of(
        st.text(), st.text().map(forged), st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(forged)
    )
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        decode(text)
    assert [error.code for error in refused.value.errors] == ["not_a_cursor"]
