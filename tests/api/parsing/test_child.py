"""The child that parses: its limits, its deaths, and what it knows and leaves behind."""

import errno
import io
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pytest

from api.parsing import Limits, Options, Refused, __main__, child
from api.parsing.child import parse_in_child
from api.parsing.contract import DISK_FULL
from models.logs import configure_logging
from tests.api.parsing.files import gray, npy_of, refused, rows, take, zip_of

MEGABYTE = 1024**2


def test_a_child_parses_as_this_process_does(tmp_path: Path) -> None:
    for data in (b"a,b\n1,x\n2,y\n3,x\n\n", zip_of({"a/1.png": gray(1), "b/1.png": gray(2)})):
        here = take(tmp_path, data)
        numbers = rows(tmp_path)
        assert take(tmp_path, data, parser=parse_in_child) == here
        np.testing.assert_array_equal(rows(tmp_path), numbers)


def test_a_child_says_why_it_refuses(tmp_path: Path) -> None:
    refused(tmp_path, "a,b\n1\n", "ragged", "row 1 has 1 cells", parser=parse_in_child)
    refused(tmp_path, "a,b\n1,2\n", "wrong_format", "", "parquet", parser=parse_in_child)


def test_options_and_limits_reach_the_child(tmp_path: Path) -> None:
    images = zip_of({"a/1.png": gray(1), "b/1.png": gray(2)})
    assert take(tmp_path, images, image_size=2, parser=parse_in_child).description.grid == (1, 2, 2)
    refused(tmp_path, "a\n1\n2\n", "too_large", "2 rows", rows=1, parser=parse_in_child)


def test_a_file_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    text = b"a,b,c,d,e,f,g,h\n" + b"1,2,3,4,5,6,7,8\n" * (8 * MEGABYTE)
    limit = 500 * MEGABYTE
    refused(tmp_path, text, "too_large", "more memory than", memory_bytes=limit, parser=parse_in_child)


def test_a_file_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    text = b"a,b,c,d,e,f,g,h\n" + b"1.25,2.5,3.5,word,5.5,6.5,7.5,8.5\n" * (3 * MEGABYTE)
    refused(tmp_path, text, "too_slow", "longer to read", cpu_seconds=1, parser=parse_in_child)


def test_a_child_that_does_not_answer_is_ended(tmp_path: Path) -> None:
    refused(tmp_path, "a\n1\n", "too_slow", "longer to read", cpu_seconds=0, parser=parse_in_child)


def test_a_header_of_32_gib_costs_nothing(tmp_path: Path) -> None:
    data = npy_of(np.zeros((1, 1))).replace(b"(1, 1), }   ", b"(4294967296,1)}")
    refused(tmp_path, data, "unreadable", "should hold 34,359,738,368 bytes", parser=parse_in_child)


def test_no_file_grows_beyond_its_limit(tmp_path: Path) -> None:
    # The numbers just fit, but for the header before them.
    data = npy_of(np.zeros((1000, 2), np.int8))
    refused(tmp_path, data, "too_large", "stores of one file", inflated_bytes=16_000, parser=parse_in_child)


DEATHS = {
    "os.kill(os.getpid(), signal.SIGSEGV)": ("unreadable", "could not cope"),
    "os.kill(os.getpid(), signal.SIGKILL)": ("unreadable", "could not cope"),
    "os.kill(os.getpid(), signal.SIGBUS)": ("unreadable", "could not cope"),
    "os.abort()": ("unreadable", "could not cope"),
    "os._exit(3)": ("unreadable", "could not cope"),
    "os._exit(0)": ("unreadable", "could not cope"),
    "os.kill(os.getpid(), signal.SIGXCPU)": ("too_slow", "longer to read"),
    "os.write(2, b'std::bad_alloc'); os.abort()": ("too_large", "more memory than"),
}


def first_thing(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, statements: str) -> None:
    """What a child does before anything else."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "sitecustomize.py").write_text(f"import json, os, resource, signal, sys\n{statements}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.parametrize("death", DEATHS)
def test_a_child_that_dies_refuses_the_file(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, death: str
) -> None:
    first_thing(monkeypatch, tmp_path_factory, death)
    refused(tmp_path, "a\n1\n", *DEATHS[death], parser=parse_in_child)


def test_what_a_dying_child_says_is_for_the_log_alone(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # Earlier tests may have configured logging to a stream that is no longer captured.
    configure_logging("json")
    first_thing(monkeypatch, tmp_path_factory, "os.write(2, b'secret of the house'); os._exit(1)")
    with pytest.raises(Refused) as caught:
        take(tmp_path, "a\n1\n", parser=parse_in_child)
    assert "secret" not in caught.value.detail
    told = "".join(capfd.readouterr())
    assert "parser_died" in told
    assert "secret of the house" in told


def test_a_child_inherits_no_secrets(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path_factory.mktemp("seen") / "environment"
    monkeypatch.setenv("DESCENT_DATABASE_URL", "postgresql://secret")
    first_thing(monkeypatch, tmp_path_factory, f"open({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))")
    take(tmp_path, "a\n1\n", parser=parse_in_child)
    environment = json.loads(seen.read_text())
    assert "secret" not in str(environment)
    assert environment["ARROW_DEFAULT_MEMORY_POOL"] == "system"


def test_a_full_disk_is_not_the_file_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    told = {"upload": "u", "folder": str(tmp_path), "options": asdict(Options()), "limits": asdict(Limits())}
    monkeypatch.setattr(__main__, "parse", full)
    monkeypatch.setattr(__main__, "_limit", lambda _: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(told)))
    assert __main__.main() == DISK_FULL
    monkeypatch.setattr(child, "_run", lambda *_: DISK_FULL)
    with pytest.raises(OSError, match="space left") as caught:
        take(tmp_path, "a\n1\n", parser=parse_in_child)
    assert caught.value.errno == errno.ENOSPC


MEASURED = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "api.parsing"], input=sys.stdin.buffer.read(), check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def peak_bytes(upload: Path, folder: Path, environment: Mapping[str, str]) -> int:
    told: dict[str, Any] = {"upload": str(upload), "folder": str(folder), "options": asdict(Options())}
    told["limits"] = asdict(replace(Limits(), cpu_seconds=100))
    # In between stands a small process: a child's peak is never less than that of the process that starts it.
    done = subprocess.run(
        [sys.executable, "-c", MEASURED],
        input=json.dumps(told).encode(),
        env=dict(environment),
        stdout=subprocess.PIPE,
        check=True,
    )
    assert "description" in json.loads((folder / "result.json").read_bytes())
    return int(done.stdout)


def test_a_table_takes_little_more_memory_than_its_file(tmp_path: Path) -> None:
    draws, many = np.random.default_rng(0), 200_000
    columns: dict[str, Any] = {f"number_{place}": draws.normal(size=many) for place in range(12)}
    columns |= {f"integer_{place}": draws.integers(0, 10 ** (1 + place), many) for place in range(5)}
    columns["word"] = np.array(["red", "green", "blue"])[draws.integers(0, 3, many)]
    columns["text"] = pa.array([f"text {number}" for number in draws.integers(0, 10**8, many).tolist()])
    columns["gaps"] = pa.array(columns["number_0"], mask=draws.random(many) < 0.5)
    upload, folder = tmp_path / "upload", tmp_path / "results"
    folder.mkdir()
    arrow_csv.write_csv(pa.table(columns), upload)
    peak = peak_bytes(upload, folder, child._environment())
    assert peak < 4 * upload.stat().st_size + 150 * MEGABYTE
