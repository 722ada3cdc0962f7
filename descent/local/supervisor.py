"""Runs programs side by side: starts them, hears them, restarts those that die, stops them in good order."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from descent.errors import DescentError

QUICK_DEATH_SECONDS = 20.0
QUICK_DEATHS_ALLOWED = 3
RESTART_SECONDS = 1.0
STOP_SECONDS = 40.0
"""A worker has 30 s to give its runs back; whoever is still there after this is killed."""
LINES_KEPT = 25
SPEAKER = "descent"
"""Under which name the supervisor itself is heard."""
PARENT_WATCH = Path(__file__).with_name("parent_watch.py")
"""Started as a file, not as a module: it needs nothing of this package and should cost nothing."""

Hear = Callable[[str, str], None]
"""Takes a program's name and one line of its output."""


@dataclass
class Program:
    """One program and, while it runs, its process."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    process: "subprocess.Popen[str] | None" = None
    started: float = 0.0
    restart_at: float | None = None
    quick_deaths: int = 0
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LINES_KEPT))
    reader: Thread | None = None


class ProgramFailed(DescentError):
    """A program ended that must run; the message carries its last words."""

    def __init__(self, program: Program, what: str) -> None:
        words = "".join(f"\n  {line}" for line in program.last_lines)
        super().__init__(f"The {program.name} {what}." + (f" Its last lines:{words}" if words else ""))


class Supervisor:
    """Looks after programs from the thread that starts them; call `look()` a few times a second."""

    def __init__(self, folder: Path, hear: Hear) -> None:
        self._folder = folder
        self._hear = hear
        self._programs: list[Program] = []
        self.in_a_hurry = False
        """Set it, from a signal handler for instance, to have `stop()` kill instead of wait."""

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a program and keep it running.

        Args:
            name: What the program is called in the log and in messages.
            command: The program and its arguments.
            environment: All environment variables of the program: it inherits none, so that each gets only the secrets
                that it needs.

        """
        program = Program(name, command, environment)
        self._programs.append(program)
        self._launch(program)

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run a program to its end.

        Raises:
            ProgramFailed: if it ends with anything but 0.

        """
        program = Program(name, command, environment)
        self._launch(program)
        assert program.process is not None
        self._programs.append(program)
        code = program.process.wait()
        self._programs.remove(program)
        self._sweep(program)
        if code:
            raise ProgramFailed(program, f"failed ({_ending(code)})")

    def demand_all(self) -> None:
        """Insist that every program runs: while a stack starts, a death is a failure and no accident.

        Raises:
            ProgramFailed: for the first one that has ended.

        """
        for program in self._programs:
            if program.process is not None and (code := program.process.poll()) is not None:
                self._sweep(program)
                raise ProgramFailed(program, f"ended at its start ({_ending(code)})")

    def look(self) -> None:
        """Start again what has died.

        Raises:
            ProgramFailed: if a program has died too often, each time soon after its start.

        """
        for program in self._programs:
            if program.process is not None and (code := program.process.poll()) is not None:
                self._sweep(program)
                self._mourn(program, code)
            elif program.restart_at is not None and time.monotonic() >= program.restart_at:
                self._launch(program)

    def _mourn(self, program: Program, code: int) -> None:
        quick = time.monotonic() - program.started < QUICK_DEATH_SECONDS
        program.quick_deaths = program.quick_deaths + 1 if quick else 1
        if program.quick_deaths > QUICK_DEATHS_ALLOWED:
            raise ProgramFailed(program, f"ended {program.quick_deaths} times in a row, soon after each start")
        pause = RESTART_SECONDS * program.quick_deaths
        self._hear(SPEAKER, f"the {program.name} ended ({_ending(code)}); starting it again in {pause:g} s")
        program.restart_at = time.monotonic() + pause

    def stop(self) -> None:
        """End all programs, the youngest first, so that nobody loses what it stands on."""
        for program in reversed(self._programs):
            process = program.process
            if process is None:
                continue
            if not self.in_a_hurry:
                with suppress(ProcessLookupError):
                    process.terminate()
                self._wait(process)
            self._sweep(program)
        self._programs.clear()

    def _wait(self, process: "subprocess.Popen[str]") -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while process.poll() is None and not self.in_a_hurry and time.monotonic() < deadline:
            time.sleep(0.02)

    def _launch(self, program: Program) -> None:
        # A session of its own: Ctrl-C reaches this process alone, which then stops the others in order.
        program.process = subprocess.Popen(  # noqa: S603
            [sys.executable, str(PARENT_WATCH), str(os.getpid()), *program.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=dict(program.environment),
            cwd=self._folder,
            start_new_session=True,
        )
        program.started = time.monotonic()
        program.restart_at = None
        program.reader = Thread(target=self._read, args=(program, program.process), name=program.name, daemon=True)
        program.reader.start()

    def _read(self, program: Program, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                program.last_lines.append(line.rstrip())
                self._hear(program.name, line.rstrip())

    def _sweep(self, program: Program) -> None:
        """Kill what a program leaves behind, such as the training processes of a worker that was itself killed."""
        assert program.process is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(program.process.pid, signal.SIGKILL)
        program.process.wait()
        assert program.reader is not None
        # Whatever was written before the end is still in the pipe.
        program.reader.join(timeout=5)
        program.process = None


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
