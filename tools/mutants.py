"""Measure which seeded random code changes (mutants) the test suite detects, and in which tier.

Each mutant is one small change in the packages of the product, applied to a temporary copy of the repository. The fast
tier runs first, the slow tier only if the fast one passes. The test files run in the order of tools/relevance.py, and a
run stops at the first failure. A failure counts if it repeats with the mutant and does not occur without it.
"""

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from tools.mutations import Mutant, draw
from tools.relevance import by_relevance, importers

ROOT = Path(__file__).parents[1]
PACKAGES = ("api/", "worker/", "models/", "descent/")
ASYNCHRONOUS = "descent/asynchronous/"
"""Modules from which tools/synchronous.py writes those of descent/."""
GENERATED = "# Made from "
"""First words of a module that it writes."""
TIERS = {"fast": "not slow and not chaos", "slow": "slow and not chaos"}
"""The marker expression of each tier."""
PARALLEL = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
"""Options of pytest-xdist: files in the given order."""
ENVIRONMENT_MARK = "DESCENT_MUTANT_RUN"
"""Variable that identifies the processes of one test run, including those that left its process group."""
INTERRUPT_SECONDS = 20.0
"""Time for pytest to stop the servers of its fixtures after the time limit."""
NEAREST = 10
"""Number of test files that run first, on their own: pytest collects all tests of a run before it starts."""
NO_TESTS = 5
"""Exit code of pytest when no test is selected."""
CONFTEST = "tests/conftest.py"
"""Reported as the failing test when pytest cannot load its configuration."""


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository's tracked files, in which tests run."""

    folder: Path

    def run(self, tier: str, tests: Iterable[str], options: Iterable[str], limit: float) -> set[str]:
        """Return the tests that fail.

        Raises:
            subprocess.TimeoutExpired: The tests take longer than the limit, in seconds.

        """
        failures = self.folder / ".pytest_cache" / "v" / "cache" / "lastfailed"
        failures.unlink(missing_ok=True)
        with self._process([sys.executable, "-m", "pytest", "-q", "-m", TIERS[tier], *options, *tests]) as process:
            code = process.wait(limit)
        if failures.exists():
            return set(json.loads(failures.read_text(encoding="utf-8")))
        return set() if code in {0, NO_TESTS} else {CONFTEST}

    @contextmanager
    def _process(self, command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.folder), ENVIRONMENT_MARK: str(self.folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(subprocess.TimeoutExpired):
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                process.wait(INTERRUPT_SECONDS)
            self._kill_remaining()
            process.wait()

    def _kill_remaining(self) -> None:
        """Kill all processes of the run: some leave its process group, but each inherits its environment."""
        for process in psutil.process_iter(["environ"]):
            if (process.info["environ"] or {}).get(ENVIRONMENT_MARK) == str(self.folder):
                with suppress(psutil.NoSuchProcess):
                    process.kill()


@contextmanager
def checkout(files: Iterable[str], mutant: Mutant | None = None) -> Iterator[Checkout]:
    """Copy the tracked files into a temporary folder, with a mutant if there is one."""
    with tempfile.TemporaryDirectory(prefix="descent-mutant-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, folder / file)
        if mutant is not None:
            (folder / mutant.path).write_text(mutant.source, encoding="utf-8")
            if mutant.path.startswith(ASYNCHRONOUS):  # the synchronous client gets the same change
                subprocess.run([sys.executable, "tools/synchronous.py"], cwd=folder, check=False)
        yield Checkout(folder)


@dataclass(frozen=True)
class Result:
    """The tier and the test that detect a mutant, if any do."""

    mutant: Mutant
    tier: str | None
    test: str | None
    timed_out: tuple[str, ...]
    """Tiers that reached the time limit without a failure."""
    seconds: float

    @property
    def verdict(self) -> str:
        return self.tier or ("undecided" if self.timed_out else "survived")

    def as_json(self) -> dict[str, object]:
        result = asdict(self) | {"verdict": self.verdict}
        return {name: value for name, value in result.pop("mutant").items() if name != "source"} | result


class Measurement:
    """Runs the tiers on one mutant after another.

    A test that fails without a mutant, or fails only once with one, is unreliable and is left out from then on.
    """

    def __init__(self, sources: Mapping[str, str], files: Sequence[str], original: Checkout, limit: float) -> None:
        self.unreliable_tests: set[str] = set()
        self._files, self._original, self._limit = files, original, limit
        self._tests = [path for path in sources if path.startswith("tests/") and Path(path).match("test_*.py")]
        self._graph = importers(sources)
        self._options = PARALLEL if importlib.util.find_spec("xdist") else []

    def measure(self, mutant: Mutant) -> Result:
        start = time.monotonic()
        timed_out: list[str] = []
        changed = {mutant.path, mutant.path.replace(ASYNCHRONOUS, "descent/")}
        tests = by_relevance(self._tests, changed, self._graph)
        with checkout(self._files, mutant) as mutated:
            for tier in TIERS:
                try:
                    test = self._detecting_test(tier, mutated, tests)
                except subprocess.TimeoutExpired:
                    timed_out.append(tier)
                    continue
                if test is not None:
                    return Result(mutant, tier, test, tuple(timed_out), time.monotonic() - start)
        return Result(mutant, None, None, tuple(timed_out), time.monotonic() - start)

    def _detecting_test(self, tier: str, mutated: Checkout, tests: Sequence[str]) -> str | None:
        deadline = time.monotonic() + self._limit
        batches = [batch for batch in (tests[:NEAREST], tests[NEAREST:]) if batch]
        while batches:
            options = ["-x", *self._options, *(f"--deselect={test}" for test in sorted(self.unreliable_tests))]
            failed = mutated.run(tier, batches[0], options, max(deadline - time.monotonic(), 0))
            if not failed:
                del batches[0]
                continue
            repeated = mutated.run(tier, failed, [], self._limit)
            if detecting := repeated - self._original.run(tier, failed, [], self._limit):
                return min(detecting)
            if failed <= self.unreliable_tests:
                raise RuntimeError(f"pytest cannot run without a mutant either: {', '.join(sorted(failed))} fails")
            self.unreliable_tests |= failed
        return None


def summary(results: Sequence[Result]) -> str:
    verdicts = Counter(result.verdict for result in results)
    return (
        f"The fast tier caught {verdicts['fast']} of the {verdicts['fast'] + verdicts['slow']} mutants that any tier "
        f"caught. {verdicts['survived']} survived, {verdicts['undecided']} undecided at the time limit."
    )


def table(results: Sequence[Result]) -> Table:
    rows = Table(*(Column(name, overflow="fold") for name in ("Line", "Change", "Caught by", "Seconds")))
    for result in results:
        mutant = result.mutant
        notes = [result.test or "", *(f"time limit: {tier} tier" for tier in result.timed_out)]
        rows.add_row(
            escape(f"{mutant.path}:{mutant.line}"),
            escape(f"{mutant.before} -> {mutant.after}"),
            escape("\n".join([result.verdict, *filter(None, notes)])),
            f"{result.seconds:.0f}",
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=25, help="number of mutants (default: 25)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random choice (default: 1)")
    parser.add_argument("--limit", type=float, default=600, help="seconds per mutant and tier (default: 600)")
    parser.add_argument("--json", action="store_true", help="write the results as JSON")
    arguments = parser.parse_args()

    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    files = [file for file in listed.stdout.split("\0") if (ROOT / file).is_file()]
    sources = {file: (ROOT / file).read_text(encoding="utf-8") for file in files if file.endswith(".py")}
    mutable = {
        path: text for path, text in sources.items() if path.startswith(PACKAGES) and not text.startswith(GENERATED)
    }
    results: list[Result] = []
    with checkout(files) as original:
        measurement = Measurement(sources, files, original, arguments.limit)
        for mutant in draw(mutable, arguments.count, arguments.seed):
            result = measurement.measure(mutant)
            results.append(result)
            sys.stderr.write(f"{len(results)}/{arguments.count} {mutant.path}:{mutant.line} {result.verdict}\n")
    unreliable = sorted(measurement.unreliable_tests)
    console = Console()
    if arguments.json:
        report = {"results": [result.as_json() for result in results], "unreliable_tests": unreliable}
        console.print_json(data=report | {"summary": summary(results)})
        return
    console.print(table(results))
    if unreliable:
        console.print(f"Left out, as unreliable: {', '.join(unreliable)}", markup=False)
    console.print(summary(results))


if __name__ == "__main__":
    main()
