from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from pydantic import SecretStr, ValidationError

from models.metric_stream import connect
from models.settings import Settings
from tests.servers import PASSWORD, Valkey

ODD = "p@ss:w/o?r#d %25&=+"
"""Every character that means something in a URL."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that sets nothing of Descent's."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DESCENT_{name.upper()}", raising=False)
    return monkeypatch


def test_every_setting_is_an_environment_variable(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DESCENT_LEASE_SECONDS", "7.5")
    environment.setenv("DESCENT_WORKER_THREADS", "3")
    environment.setenv("DESCENT_ALLOWED_HOSTS", '["a.example"]')
    environment.setenv("DESCENT_LOG_FORMAT", "json")
    found = Settings()
    assert (found.lease_seconds, found.worker_threads, found.allowed_hosts) == (7.5, 3, ["a.example"])
    assert (found.log_format, found.heartbeat_seconds) == ("json", 10.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_SECONDS", "0"),
        ("LEASE_SECONDS", "soon"),
        ("HEARTBEAT_SECONDS", "-1"),
        ("STREAM_SECONDS", "0"),
        ("WORKER_THREADS", "-1"),
        ("WORKER_THREADS", "1.5"),
        ("WORKER_THREADS", "257"),
        ("WORKER_MEMORY_BYTES", "0"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_is_refused_by_name(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(f"DESCENT_{name}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [(name.lower(),)]


def test_a_file_of_secrets_sets_a_setting_and_the_environment_goes_first(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "descent_database_password").write_text("from a file\n")
    (tmp_path / "descent_metrics_password").write_text("from a file")
    environment.setenv("DESCENT_METRICS_PASSWORD", "from the environment")
    found = Settings(_secrets_dir=tmp_path)
    assert found.database_password is not None
    assert found.metrics_password is not None
    assert found.database_password.get_secret_value() == "from a file"
    assert found.metrics_password.get_secret_value() == "from the environment"


def test_a_password_is_never_printed() -> None:
    found = Settings(database_password=SecretStr(ODD), broker_password=SecretStr(ODD), metrics_password=SecretStr(ODD))
    assert ODD not in f"{found} {found!r} {found.database()}"


def test_without_a_password_the_urls_are_as_they_were_given() -> None:
    urls: dict[str, Any] = {
        "database_url": "postgresql+psycopg://someone:secret@host/descent",
        "broker_url": "redis+socket:///a/valkey.sock?virtual_host=0",
        "metrics_url": "rediss://user:secret@host:6380/1?ssl_cert_reqs=none",
    }
    found = Settings(**urls)
    assert found.database().render_as_string(hide_password=False) == urls["database_url"]
    assert (found.broker(), found.metrics()) == (urls["broker_url"], urls["metrics_url"])


def test_the_databases_password_is_put_into_its_url() -> None:
    found = Settings(
        database_url="postgresql+psycopg://someone:old@host:5433/descent", database_password=SecretStr(ODD)
    ).database()
    assert (found.username, found.password, found.host, found.port) == ("someone", ODD, "host", 5433)


@pytest.fixture
def stranger(valkey: Valkey) -> Iterator[str]:
    """A user of the Redis-protocol server whose password has every odd character."""
    with redis.Redis.from_url(valkey.metrics_url()) as client:
        client.acl_setuser("stranger", enabled=True, passwords=[f"+{ODD}"], keys=["*"], commands=["+@all"])
        yield "stranger"
        client.acl_deluser("stranger")


@pytest.mark.parametrize("who", ["stranger", "nobody in particular"])
def test_passwords_that_are_given_apart_open_the_servers(valkey: Valkey, stranger: str, who: str) -> None:
    user, password = (f"{stranger}@", ODD) if who == "stranger" else ("", PASSWORD)
    settings = Settings(
        metrics_url=f"unix://{user}{valkey.socket}?db=1",
        metrics_password=SecretStr(password),
        broker_url=f"redis+socket://{user}{valkey.socket}?virtual_host=0",
        broker_password=SecretStr(password),
    )
    with connect(settings.metrics()) as client:
        assert client.ping()
    with Celery(broker=settings.broker()).connection_for_write() as connection:
        connection.ensure_connection(max_retries=1)


def test_a_wrong_password_opens_nothing(valkey: Valkey) -> None:
    settings = Settings(metrics_url=f"unix://{valkey.socket}?db=1", metrics_password=SecretStr("wrong"))
    with connect(settings.metrics()) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
