import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path

import boto3
import fsspec
import pytest
from moto.server import ThreadedMotoServer

from models import storage as storage_module
from models.storage import NotStored, Storage, StorageFailed, StoredFile

Ask = Callable[[], object]


@pytest.fixture(params=["folder", "folder as a URL", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A folder that does not exist yet, and a store of objects that knows no folders."""
    if request.param == "folder":
        yield Storage(str(tmp_path / "deep" / "storage"))
    elif request.param == "folder as a URL":
        yield Storage((tmp_path / "deep" / "storage").as_uri())
    else:
        yield Storage("memory://bucket/prefix")
        fsspec.filesystem("memory").store.clear()


def content(storage: Storage, key: str) -> bytes:
    with storage.open(key) as file:
        return file.read()


def test_what_is_written_under_a_key_is_read_under_it(storage: Storage) -> None:
    every_byte = bytes(range(256)) * 1_000
    storage.write("runs/run_1/1/weights.safetensors", every_byte)
    storage.write("runs/run_1/2/weights.safetensors", b"")
    assert content(storage, "runs/run_1/1/weights.safetensors") == every_byte
    assert content(storage, "runs/run_1/2/weights.safetensors") == b""


def test_writing_again_replaces_the_whole(storage: Storage) -> None:
    storage.write("key", b"a long text")
    storage.write("key", b"short")
    assert content(storage, "key") == b"short"


def test_what_nobody_wrote_is_not_found(storage: Storage) -> None:
    storage.write("runs/one", b"1")
    for key in ("runs/other", "elsewhere"):
        with pytest.raises(FileNotFoundError):
            storage.open(key)


def test_deleting_takes_what_is_there_and_minds_nothing_else(storage: Storage) -> None:
    for key in ("runs/1", "runs/2", "runs/3"):
        storage.write(key, b"x")
    storage.delete(["runs/1", "runs/never", "runs/3", "runs/1"])
    storage.delete([])
    assert content(storage, "runs/2") == b"x"
    for gone in ("runs/1", "runs/3"):
        with pytest.raises(FileNotFoundError):
            storage.open(gone)


def test_files_are_listed_by_folder_with_size_and_age(storage: Storage) -> None:
    assert list(storage.list("runs")) == []
    before = time.time()
    storage.write("runs/1/1/weights", b"12345")
    storage.write("runs/10/1/weights", b"")
    storage.write("checkpoints/1", b"x")
    listed = {file.key: file for file in storage.list("runs")}
    assert {key: file.size for key, file in listed.items()} == {"runs/1/1/weights": 5, "runs/10/1/weights": 0}
    assert all(before - 2 <= file.modified <= time.time() + 2 for file in listed.values())
    assert [file.key for file in storage.list("runs/1")] == ["runs/1/1/weights"]
    assert list(storage.list("run")) == [], "a prefix is a folder, not a beginning of its name"
    found = storage.find("runs/1/1/weights")
    assert isinstance(found, StoredFile)
    assert found.size == 5
    assert storage.find("runs/1/1/other") is None


def test_a_folder_stays_where_it_is_when_the_process_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage("here/storage")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    storage.write("key", b"x")
    assert (tmp_path / "here" / "storage" / "key").read_bytes() == b"x"


@contextmanager
def full_disk(at: int) -> Iterator[None]:
    """No file grows past so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_leaves_what_was_there_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    storage = Storage(str(tmp_path / "storage"))
    storage.write("runs/old", b"the old content")
    for key in ("runs/old", "runs/new"):
        with full_disk(at=100_000), pytest.raises(OSError, match="too large"):
            storage.write(key, b"x" * 1_000_000)
    assert content(storage, "runs/old") == b"the old content"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["old"]
    storage.write("runs/new", b"the new content")
    assert content(storage, "runs/new") == b"the new content"


def test_a_full_disk_leaves_no_torn_file(tmp_path: Path) -> None:
    """On a filesystem of two megabytes, which only root may mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        storage = Storage(str(disk / "storage"))
        storage.write("runs/old", b"o" * 500_000)
        upload = tmp_path / "upload"
        upload.write_bytes(b"x" * 3_000_000)
        fills: list[Ask] = [
            lambda: storage.write("runs/old", b"n" * 3_000_000),
            lambda: storage.put("runs/new", upload),
        ]
        for fill in fills:
            with pytest.raises(OSError, match="No space left") as caught:
                fill()
            assert caught.value.errno == ENOSPC
        assert [(file.key, file.size) for file in storage.list("runs")] == [("runs/old", 500_000)]
        storage.write("runs/new", b"n" * 1_000_000)
        assert content(storage, "runs/old") == b"o" * 500_000
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_is_written_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        done.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{handle}')).name.partition('.')[0]}")
        fsync(handle)

    def named(path: Path, target: Path) -> Path:
        done.append(f"rename {path.name.partition('.')[0]}")
        return replace(path, target)

    storage = Storage(str(tmp_path))
    (tmp_path / "upload").write_bytes(b"x")
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", named)
    ways: list[Ask] = [
        lambda: storage.write("runs/file", b"x"),
        lambda: storage.put("runs/file", tmp_path / "upload"),
    ]
    for store in ways:
        store()
        assert done[-3:] == ["fsync file", "rename file", "fsync runs"]
    assert done[0] == f"fsync {tmp_path.name}", "the new folder itself is there for good, too"


def test_a_folder_that_is_gone_is_told_from_a_file_that_is_gone(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "storage"))
    storage.write("runs/1", b"x")
    with pytest.raises(NotStored):
        storage.open("runs/2")
    with pytest.raises(NotStored):
        storage.get("runs/2", tmp_path / "copy")
    (tmp_path / "storage").rename(tmp_path / "elsewhere")
    asks: list[Ask] = [lambda: storage.open("runs/1"), lambda: storage.delete(["runs/1"])]
    for ask in asks:
        with pytest.raises(StorageFailed, match="there is no folder"):
            ask()


def test_listing_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "storage"))
    (tmp_path / "storage").write_bytes(b"no folder")
    with pytest.raises(OSError, match="Not a directory"):
        list(storage.list("runs"))


# ── an object store that is away ─────────────────────────────────────────────────────────────────


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"ACCESS_KEY_ID": "only", "SECRET_ACCESS_KEY": "for-tests", "DEFAULT_REGION": "us-east-1"}
    for name, value in told.items():
        monkeypatch.setenv(f"AWS_{name}", value)


def bucket_at(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket=name)
    return Storage(f"s3://{name}/files")


@pytest.mark.usefixtures("keys")
def test_an_object_store_lists_what_others_wrote_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        storage = bucket_at(f"http://{host}:{port}", "listed", monkeypatch)
        assert list(storage.list("runs")) == []
        storage.write("runs/1", b"12345")
        assert [file.key for file in storage.list("runs")] == ["runs/1"]
        others = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        others.put_object(Bucket="listed", Key="files/runs/2", Body=b"123")
        listed = {file.key: file.size for file in storage.list("runs")}
        assert listed == {"runs/1": 5, "runs/2": 3}
        assert all(abs(file.modified - time.time()) < 60 for file in storage.list("runs"))
        others.put_object(Bucket="listed", Key="files/runs/1", Body=b"longer than before")
        assert content(storage, "runs/1") == b"longer than before"
        with pytest.raises(NotStored):
            storage.open("runs/3")
    finally:
        server.stop()


@pytest.mark.usefixtures("keys")
def test_an_object_store_that_is_silent_or_gone_is_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with moto_of_its_own(tmp_path) as (process, url):
        bucket_at(url, "silent", monkeypatch).write("runs/1", b"x")
        monkeypatch.setattr("models.storage.SILENT_SECONDS", 1.0)
        monkeypatch.setitem(storage_module._IN_TWO_TRIES, "read_timeout", 1.0)
        storage = Storage("s3://silent/files")
        (tmp_path / "upload").write_bytes(b"x")
        asks: dict[str, Ask] = {
            "open": lambda: storage.open("runs/1"),
            "write": lambda: storage.write("runs/2", b"x"),
            "put": lambda: storage.put("runs/2", tmp_path / "upload"),
            "get": lambda: storage.get("runs/1", tmp_path / "copy"),
            "list": lambda: list(storage.list("runs")),
            "delete": lambda: storage.delete(["runs/3"]),
        }
        os.kill(process.pid, signal.SIGSTOP)
        for name, ask in asks.items():
            with pytest.raises(OSError) as caught:  # noqa: PT011 whatever words it has
                ask()
            assert not isinstance(caught.value, FileNotFoundError), name
        os.kill(process.pid, signal.SIGCONT)
        assert content(storage, "runs/1") == b"x"
        process.kill()
        process.wait()
        for name, ask in asks.items():
            with pytest.raises(OSError) as caught:  # noqa: PT011
                ask()
            assert not isinstance(caught.value, FileNotFoundError), name


@contextmanager
def moto_of_its_own(folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """An object store in a process that can be stopped."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while True:
            assert time.monotonic() < deadline, (folder / "moto.log").read_text()
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.05)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
