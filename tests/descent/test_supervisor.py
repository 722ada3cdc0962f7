import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from descent.local import supervisor as module
from descent.local.supervisor import PARENT_WATCH, ProgramFailed, Supervisor

FOREVER = "import time\nwhile True: time.sleep(1)"


class Ears:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.heard.append((name, line))

    def lines(self, name: str) -> list[str]:
        return [line for who, line in self.heard if who == name]


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def supervisor(tmp_path: Path, ears: Ears) -> Iterator[Supervisor]:
    found = Supervisor(tmp_path, ears)
    yield found
    found.in_a_hurry = True
    found.stop()


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def eventually(holds: Callable[[], object], meanwhile: Callable[[], None] = lambda: None) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        meanwhile()
        time.sleep(0.01)


def is_alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_programs_are_heard_each_under_its_name(supervisor: Supervisor, ears: Ears) -> None:
    supervisor.start("a", python(f"print('one')\n{FOREVER}"), os.environ)
    supervisor.start("b", python(f"import sys; print('two', file=sys.stderr)\n{FOREVER}"), os.environ)
    eventually(lambda: ears.lines("a") == ["one"] and ears.lines("b") == ["two"])


def test_a_program_receives_the_environment_that_it_is_given_and_no_other(
    supervisor: Supervisor, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESCENT_ADMIN_KEY", "secret")
    code = f"import os; print([name for name in os.environ if name != 'LC_CTYPE'])\n{FOREVER}"
    supervisor.start("a", python(code), {"A": "1"})
    supervisor.start("b", python(code), {"B": "2"})
    eventually(lambda: ears.lines("a") == ["['A']"] and ears.lines("b") == ["['B']"])


def test_a_program_that_dies_is_started_again(
    supervisor: Supervisor, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.01)
    supervisor.start("worker", python(f"import os; print(os.getpid())\n{FOREVER}"), os.environ)
    eventually(lambda: ears.lines("worker"))
    os.kill(int(ears.lines("worker")[0]), signal.SIGKILL)
    eventually(lambda: len(ears.lines("worker")) == 2, supervisor.look)
    first, second = ears.lines("worker")
    assert first != second
    assert ears.lines("descent") == ["the worker ended (SIGKILL); starting it again in 0.01 s"]


def test_a_program_that_dies_again_and_again_is_given_up_with_its_last_words(
    supervisor: Supervisor, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.01)
    supervisor.start("worker", python("print('no disk'); raise SystemExit(3)"), os.environ)
    with pytest.raises(ProgramFailed, match=r"ended 4 times in a row(.|\n)*no disk"):
        eventually(lambda: False, supervisor.look)


def test_what_a_killed_program_leaves_behind_is_killed_too(
    supervisor: Supervisor, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTART_SECONDS", 3600)
    child = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {FOREVER!r}]).pid)\n{FOREVER}"
    supervisor.start("worker", python(f"import os; print(os.getpid())\n{child}"), os.environ)
    eventually(lambda: len(ears.lines("worker")) == 2)
    parent, orphan = map(int, ears.lines("worker"))
    os.kill(parent, signal.SIGKILL)
    eventually(lambda: ears.lines("descent"), supervisor.look)
    eventually(lambda: not is_alive(orphan))


def test_a_death_during_the_start_is_a_failure(supervisor: Supervisor, ears: Ears) -> None:
    supervisor.start("api", python("print('address in use'); raise SystemExit(1)"), os.environ)
    with pytest.raises(ProgramFailed, match=r"api ended at its start \(exit code 1\)(.|\n)*address in use"):
        eventually(lambda: False, supervisor.demand_all)


def test_a_program_that_is_run_to_its_end_must_end_well(supervisor: Supervisor) -> None:
    supervisor.run("migrations", python("pass"), os.environ)
    with pytest.raises(ProgramFailed, match=r"migrations failed \(exit code 2\)(.|\n)*no such table"):
        supervisor.run("migrations", python("print('no such table'); raise SystemExit(2)"), os.environ)


def test_programs_stop_in_the_opposite_order_of_their_start(supervisor: Supervisor, ears: Ears) -> None:
    polite = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit()))\n"
        "print('hello')\n"
        "while True: time.sleep(1)"
    )
    for name in ("redis", "api", "worker"):
        supervisor.start(name, python(polite), os.environ)
    eventually(lambda: len(ears.heard) == 3)
    supervisor.stop()
    assert ears.heard[3:] == [("worker", "bye"), ("api", "bye"), ("redis", "bye")]


def test_in_a_hurry_nobody_is_waited_for(supervisor: Supervisor, ears: Ears) -> None:
    stubborn = f"import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid())\n{FOREVER}"
    supervisor.start("worker", python(stubborn), os.environ)
    eventually(lambda: ears.lines("worker"))
    supervisor.in_a_hurry = True
    supervisor.stop()
    assert not is_alive(int(ears.lines("worker")[0]))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_a_program_ends_with_the_process_that_started_it() -> None:
    parent = (
        "import os, subprocess, sys, time\n"
        f"command = [sys.executable, {str(PARENT_WATCH)!r}, str(os.getpid()), sys.executable, '-c', {FOREVER!r}]\n"
        "print(subprocess.Popen(command).pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        # The parent is watched once the program has replaced the script.
        eventually(lambda: b"parent_watch" not in Path(f"/proc/{child}/cmdline").read_bytes())
        process.kill()
    eventually(lambda: not is_alive(child))
