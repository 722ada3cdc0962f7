"""Keys over HTTP: made by admins, shown once, valid for as long as they are, and told from wrong ones."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update

from api.app import create_app
from api.auth import keyring
from api.auth.secrets import digest_of
from models.database import Database
from models.settings import Settings
from models.tables import Event, Key, now
from tests.servers import KEY, http_client, running_api

Opened = Callable[[str | None], httpx2.Client]


@pytest.fixture
def opened(api_url: str) -> Iterator[Opened]:
    """A client for a key."""
    with ExitStack() as clients:
        yield lambda key: clients.enter_context(http_client(api_url, key=key))


def create(api: httpx2.Client, owner: str = "ada", **more: Any) -> dict[str, Any]:
    made = api.post("/v1/keys", json={"owner": owner, **more})
    assert made.status_code == 201, made.text
    answer: dict[str, Any] = made.json()
    return answer


def test_a_key_opens_what_its_scope_says_and_is_shown_once(api: httpx2.Client, opened: Opened) -> None:
    made = create(api, note="laptop")
    assert made["key"].startswith(f"dk_{made['id']}_")
    assert (made["owner"], made["scope"], made["is_valid"], made["last_used_at"]) == ("ada", "submit", True, None)
    ada = opened(made["key"])
    assert ada.post("/v1/jobs", json={"dataset": "sine", "optimizer": "adam"}).status_code == 202
    told = api.get(f"/v1/keys/{made['id']}").json()
    assert "key" not in told
    assert made["key"].removeprefix(f"dk_{made['id']}_") not in api.get("/v1/keys").text
    assert told["last_used_at"] is not None


def test_of_a_secret_only_a_digest_is_stored(api: httpx2.Client, database: Database) -> None:
    made = create(api)
    with database.read() as session:
        row = session.get_one(Key, made["id"])
        stored = {column.key: getattr(row, column.key) for column in Key.__table__.columns}
        events = session.scalars(select(Event).where(Event.subject_id == made["id"])).all()
    assert stored["secret_sha256"] == digest_of(made["key"])
    secret = made["key"].removeprefix(f"dk_{made['id']}_")
    assert not any(secret in str(value) for value in stored.values())
    assert not any(secret in str(event.detail) for event in events)


def test_a_revoked_key_opens_nothing_and_stays_listed(api: httpx2.Client, opened: Opened) -> None:
    made = create(api)
    ada = opened(made["key"])
    assert ada.get("/v1/jobs").status_code == 200
    assert api.delete(f"/v1/keys/{made['id']}").status_code == 204
    refused = ada.get("/v1/jobs")
    assert refused.status_code == 401
    assert refused.json()["type"] == "urn:descent:problem:unauthenticated"
    assert "revoked" in refused.json()["detail"]
    (listed,) = api.get("/v1/keys", params={"owner": "ada"}).json()["data"]
    assert listed["revoked_at"] is not None
    assert not listed["is_valid"]
    assert api.delete(f"/v1/keys/{made['id']}").status_code == 204, "twice is as good as once"
    assert api.post(f"/v1/keys/{made['id']}/rotate").status_code == 409


def test_a_key_that_another_process_revoked_opens_for_two_seconds_at_most(
    api: httpx2.Client, opened: Opened, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = create(api)
    ada = opened(made["key"])
    assert ada.get("/v1/jobs").status_code == 200
    with database.write() as session:
        session.execute(update(Key).values(revoked_at=now()))
    later = time.monotonic() + keyring.REMEMBERED_SECONDS
    monkeypatch.setattr(keyring, "monotonic", lambda: later)
    assert ada.get("/v1/jobs").status_code == 401


def test_a_key_that_is_revoked_while_it_is_read_is_not_remembered(database: Database, api: httpx2.Client) -> None:
    made = create(api)
    ring = keyring.Keyring(database, KEY)
    read = ring._read

    def read_and_lose(key_id: str) -> Any:
        found = read(key_id)
        ring.forget(key_id)
        return found

    ring._read = read_and_lose  # type: ignore[method-assign]
    assert asyncio.run(ring.look_up(made["key"])) is not None, "it was asked before"
    assert ring.remembered(made["key"]) is None


def test_an_expired_key_opens_nothing_although_it_was_remembered(
    api: httpx2.Client, opened: Opened, database: Database
) -> None:
    soon = now() + timedelta(seconds=1.0)
    ada = opened(create(api, expires_at=soon.isoformat())["key"])
    answers = [ada.get("/v1/jobs").status_code]
    while answers[-1] == 200 and now() < soon + timedelta(seconds=keyring.REMEMBERED_SECONDS / 2):
        answers.append(ada.get("/v1/jobs").status_code)
    assert (answers[0], answers[-1]) == (200, 401)
    assert now() >= soon


def test_a_key_cannot_be_born_expired(api: httpx2.Client) -> None:
    refused = api.post("/v1/keys", json={"owner": "ada", "expires_at": "2020-01-01T00:00:00Z"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/expires_at"


@pytest.mark.parametrize("owner", ["", " ", "a b", "ada\n", "-ada", "x" * 65, "λ", None, 7])
def test_an_owner_has_a_plain_name(api: httpx2.Client, owner: Any) -> None:
    refused = api.post("/v1/keys", json={"owner": owner})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/owner"


def test_a_rotated_key_has_a_new_secret_and_the_same_owner(api: httpx2.Client, opened: Opened) -> None:
    made = create(api)
    before = opened(made["key"])
    job = before.post("/v1/jobs", json={"dataset": "sine", "optimizer": "adam"}).json()["id"]
    rotated = api.post(f"/v1/keys/{made['id']}/rotate").json()
    assert rotated["id"] == made["id"]
    assert rotated["key"] != made["key"]
    assert before.get("/v1/jobs").status_code == 401
    assert opened(rotated["key"]).get(f"/v1/jobs/{job}").status_code == 200


def test_the_old_secret_of_a_rotated_key_opens_for_as_long_as_was_asked(
    api: httpx2.Client, opened: Opened, database: Database
) -> None:
    made = create(api)
    rotated = api.post(f"/v1/keys/{made['id']}/rotate", json={"overlap_seconds": 3600}).json()
    old, new = opened(made["key"]), opened(rotated["key"])
    assert [old.get("/v1/jobs").status_code, new.get("/v1/jobs").status_code] == [200, 200]
    with database.write() as session:
        session.execute(update(Key).values(previous_until=now()))
    third = api.post(f"/v1/keys/{made['id']}/rotate").json()
    assert [client.get("/v1/jobs").status_code for client in (old, new, opened(third["key"]))] == [401, 401, 200]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        KEY,
        f"Basic {KEY}",
        f"Bearer {KEY} {KEY}",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        "Bearer dk_0123456789abcdef_" + "a" * 43,
        "Bearer dk__",
        "Bearer " + "a" * 5_000,
        "Bearer \xe9",
    ],
)
def test_what_is_no_key_is_told_so_with_a_challenge(api_url: str, header: str) -> None:
    with http_client(api_url, key=None) as stranger:
        refused = stranger.get("/v1/jobs", headers=[(b"Authorization", header.encode("latin-1"))])
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert KEY not in refused.text


def test_two_keys_at_once_are_none(api_url: str) -> None:
    with http_client(api_url, key=None) as stranger:
        headers = [("Authorization", f"Bearer {KEY}"), ("Authorization", f"Bearer {KEY}")]
        assert stranger.get("/v1/jobs", headers=headers).status_code == 401


def test_an_address_that_guesses_is_stopped_and_known_keys_still_open(
    settings: Settings,
) -> None:
    with (
        running_api(create_app(settings.model_copy(update={"failures_a_minute": 5}))) as url,
        http_client(url) as api,
        http_client(url, key="dk_0123456789abcdef_" + "a" * 43) as guessing,
    ):
        ada_key = create(api)["key"]
        with http_client(url, key=ada_key) as ada:
            assert ada.get("/v1/jobs").status_code == 200
            assert [guessing.get("/v1/jobs").status_code for _ in range(7)] == [401] * 5 + [429] * 2
            refused = guessing.get("/v1/jobs")
            assert 0 < int(refused.headers["Retry-After"]) <= 60
            assert refused.json()["type"] == "urn:descent:problem:rate_limited"
            assert ada.get("/v1/jobs").status_code == 200
        assert api.get("/v1/jobs").status_code == 200


def test_the_admin_key_of_the_settings_opens_without_the_database(
    settings_on_sqlite: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(keyring.Keyring, "_read", away)
    with running_api(create_app(settings_on_sqlite)) as url, http_client(url) as api:
        assert api.get("/v1/components").status_code == 200


@pytest.mark.parametrize("key", [None, "", "short", "x" * 31, "x" * 40 + " y", "x" * 201])
def test_the_api_does_not_start_without_a_strong_admin_key(settings_on_sqlite: Settings, key: str | None) -> None:
    weak = Settings.model_validate(settings_on_sqlite.model_dump() | {"admin_key": key})
    with pytest.raises(ValueError, match="at least 32 letters") as told:
        create_app(weak)
    assert not key or key not in str(told.value)
