"""A shell that a page's commands are typed into, one after another."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_END = "\x1e"
"""The ASCII separator of records: no command prints it."""


class Shell:
    """One bash, so that what a command sets, the next ones see."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._typed = folder / ".typed"
        self._status = 0
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, command: str, seconds: float) -> tuple[int, str]:
        """The exit status of a command and what it printed, on both channels.

        Raises:
            TimeoutError: if it takes longer.

        """
        assert self._bash.stdin is not None
        # The status before is there for whoever asks: `echo $?`.
        self._typed.write_text(f"(exit {self._status})\n{command}\n", encoding="utf-8")
        self._bash.stdin.write(f'. ./{self._typed.name} </dev/null; printf "{_END}%d\\n" $?\n'.encode())
        self._bash.stdin.flush()
        printed, _, status = self._read(seconds).rpartition(_END)
        self._status = int(status)
        return self._status, printed

    def _read(self, seconds: float) -> str:
        assert self._bash.stdout is not None
        deadline, heard = time.monotonic() + seconds, b""
        while not (_END.encode() in heard and heard.endswith(b"\n")):
            ready, _, _ = select.select([self._bash.stdout], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                self.close()
                raise TimeoutError(f"not within {seconds:.0f} s; until then it printed\n{heard.decode()}")
            piece = os.read(self._bash.stdout.fileno(), 65_536)
            assert piece, f"the shell has ended; until then it printed\n{heard.decode()}"
            heard += piece
        return heard.decode()

    def close(self) -> None:
        """End it and everything that it has started."""
        if self._bash.poll() is None:
            os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.wait()
        for pipe in (self._bash.stdin, self._bash.stdout):
            if pipe is not None:
                pipe.close()
