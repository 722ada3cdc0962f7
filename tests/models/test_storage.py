import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from models.storage import Storage


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
