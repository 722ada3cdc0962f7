"""The client is made of the asynchronous one, and stays what that says."""

import shutil
from pathlib import Path

import pytest

from tools import synchronous
from tools.synchronous import in_shape, main, twins

ASYNCHRONOUS = '''\
"""A part of the client."""

import time
from collections.abc import AsyncIterator

from descent.asynchronous import loop
from descent.asynchronous.asking import Asking
from descent.packing import one_file


class Part(Asking):
    """Of the AsyncClient; awaiting and asynchronous are words like others.

    Example:
        >>> [job.id async for job in client.jobs()]
        >>> async with AsyncClient() as client:
        ...     job = await client.job("job_1")

    """

    async def __aenter__(self) -> "Part":
        self._places = loop.semaphore(2)
        await loop.sleep(time.monotonic())
        return self

    async def pieces(self, *files: str) -> AsyncIterator[bytes]:
        # An AsyncClient may await its turn.
        async with self._places, loop.entered(one_file(files)) as file:
            with file.open("rb") as opened:
                while piece := await loop.in_thread(opened.read, min(len(files), 7)):
                    yield piece
        await loop.in_thread(file.unlink)

    async def whole(self) -> list[bytes]:
        return [piece async for piece in self.pieces("AsyncClient", "async for")]

    async def several(self) -> AsyncIterator[bytes]:
        for piece in await self.whole():
            yield piece
        await self.aclose()
'''

SYNCHRONOUS = '''\
"""A part of the client."""

import threading
import time
from collections.abc import Iterator

from descent.asking import Asking
from descent.packing import one_file


class Part(Asking):
    """Of the Client; awaiting and asynchronous are words like others.

    Example:
        >>> [job.id for job in client.jobs()]
        >>> with Client() as client:
        ...     job = client.job("job_1")

    """

    def __enter__(self) -> "Part":
        self._places = threading.Semaphore(2)
        time.sleep(time.monotonic())
        return self

    def pieces(self, *files: str) -> Iterator[bytes]:
        # An AsyncClient may await its turn.
        with self._places, one_file(files) as file:
            with file.open("rb") as opened:
                while piece := opened.read(min(len(files), 7)):
                    yield piece
        file.unlink()

    def whole(self) -> list[bytes]:
        return list(self.pieces("AsyncClient", "async for"))

    def several(self) -> Iterator[bytes]:
        yield from self.whole()
        self.close()
'''


def test_what_a_coroutine_awaits_a_thread_calls() -> None:
    assert in_shape(synchronous.synchronous(ASYNCHRONOUS), Path("descent/part.py")) == SYNCHRONOUS


def test_every_module_is_what_its_source_says() -> None:
    made = dict(twins())
    assert {path.name for path in made} >= {"client.py", "transport.py", "uploading.py", "watching.py"}
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is behind: run `make format`"


def test_what_the_loop_does_and_a_thread_cannot_is_not_made_up() -> None:
    with pytest.raises(ValueError, match=r"line 1: .* has no twin"):
        synchronous.synchronous("await loop.gather(one, other)\n")


def test_a_module_that_was_changed_by_hand_is_told_and_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(synchronous.TARGET, tmp_path / "descent")
    monkeypatch.setattr(synchronous, "ROOT", tmp_path)
    monkeypatch.setattr(synchronous, "TARGET", tmp_path / "descent")
    monkeypatch.setattr(synchronous, "SOURCE", tmp_path / "descent" / "asynchronous")
    path = tmp_path / "descent" / "keeping.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# by hand\n", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["synchronous.py", "--check"])
    assert main() == 1
    told = capsys.readouterr().err
    assert "descent/keeping.py" in told
    assert "make format" in told
    monkeypatch.setattr("sys.argv", ["synchronous.py"])
    assert main() == 0
    assert "by hand" not in path.read_text(encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["synchronous.py", "--check"])
    assert main() == 0
