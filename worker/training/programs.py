"""Compiled gradients: what a step of a dense network computes, as native programs for 16 runs, for 4 and for one.

A cohort of any size is cut into such parts, so that runs that leave need no new program. The network is written
here as anybody would write it for one run; torch derives its gradient, stacks it and compiles it, in a process of its
own, since that takes seconds in which the training process has to listen. Programs stay on disk for the next cohort.

They add in another order than the eager layers do, so their bits are others: which of the two trains a run is decided
by its spec alone (`compiles`), or the same run would differ from one cohort to the next.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Self

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from models.spec.job import LABELS, JobSpec
from models.spec.networks import Activation
from models.spec.plan import plan
from worker.training import losses, networks
from worker.training.batches import Batch
from worker.training.blocks import AffineBlock
from worker.training.cost import trains_alone
from worker.training.losses import CrossEntropy, Huber, Loss
from worker.training.networks import Network

LONG_STEPS = 1_000_000
"""From here on a lone run about makes good for its compilation: some 25 seconds, for 20 µs a step."""

WIDTHS = (16, 4, 1)
"""Runs of one program. Sixteen small networks fill the caches; more, and they fall out of them."""

MOST_FILES = 60
"""Programs kept on disk, 1.6 MB each."""

MOST_SECONDS = 600.0
"""Of one compilation, on however slow a machine."""

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}

Parameters = tuple[Tensor, Tensor]


def compiles(spec: JobSpec, device: str) -> bool:
    """Whether the runs of this spec are trained by compiled programs, where there is a compiler."""
    if device != "cpu" or not spec.compilable:
        return False
    pays = plan(spec).steps >= LONG_STEPS and not trains_alone(spec)
    return spec.execution == "compiled" or (spec.execution == "auto" and pays)


class Programs:
    """The programs of one shape of work; `run` leaves what `Pass` and the loss would leave."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._runners = {width: _load(file) for width, file in zip(WIDTHS, files, strict=True)}

    def run(self, theta: Tensor, batch: Batch, kept: Tensor, gradient: Tensor) -> None:
        """Write what the loss is made of into `kept` (K, B, O), and its gradient into `gradient` (K, P)."""
        first, runs = 0, len(theta)
        tensors = [theta, batch.inputs, batch.targets, *batch.masks]
        while first < runs:
            width = next(width for width in WIDTHS if width <= runs - first)
            part = slice(first, first + width)
            gradient[part], kept[part] = self._runners[width]([tensor[part] for tensor in tensors])
            first += width


class Compilation:
    """The programs of a spec in the making, or found on disk; leaving the block ends what is under way.

    Raises:
        OSError, RuntimeError: if there is no place for them: a file system that is read-only, a user without a home.

    """

    def __init__(self, spec: JobSpec, threads: int) -> None:
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # native code: nobody else's business
        self._files = _files(folder, spec, threads)
        self._deadline = time.monotonic() + MOST_SECONDS
        self._said = TemporaryFile()  # noqa: SIM115 - closed with the block
        self._process: subprocess.Popen[bytes] | None = None
        if not all(file.exists() for file in self._files):
            command = [sys.executable, "-m", __name__, str(threads), spec.model_dump_json(exclude=set(LABELS))]
            quiet = subprocess.DEVNULL
            # The compiler and the programs that it starts need no settings, some of which are passwords.
            environment = {name: value for name, value in os.environ.items() if not name.startswith("DESCENT_")}
            self._process = subprocess.Popen(  # noqa: S603
                command, stdin=quiet, stdout=quiet, stderr=self._said, env=environment
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def wait(self, seconds: float) -> bool:
        """Wait for so long at most; whether it is over. A compiler that takes far too long is ended."""
        if self._process is None:
            return True
        if time.monotonic() > self._deadline:
            self._process.kill()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def programs(self) -> Programs:
        """What it has made.

        Raises:
            RuntimeError: if it has failed, with the last line of what the compiler said.

        """
        if self._process is not None and self._process.returncode:
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(said[-1] if said else f"the compiler ended with {self._process.returncode}")
        return Programs(self._files)


def has_compiler() -> bool:
    """Whether this machine has what torch's inductor compiles with."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))


def gradients(network: Network, loss: Loss, theta: Tensor, inputs: Tensor, targets: Tensor, *masks: Tensor) -> Any:
    """The gradient (K, P) of each run's mean loss, and what the loss is made of, (K, B, O)."""
    parameters = []
    for block, view in network.blocks(theta):
        assert isinstance(block, AffineBlock)
        parameters.append((view[:, : block.inputs], view[:, block.inputs]))
    slopes, kept = torch.func.vmap(torch.func.grad(partial(_loss, network, loss), has_aux=True))(
        parameters, inputs, targets, masks
    )
    flat = [part.reshape(len(theta), -1) for layer in slopes for part in layer]
    return torch.cat([*flat, theta.new_zeros(len(theta), network.columns - network.parameters)], 1), kept


def _loss(
    network: Network,
    loss: Loss,
    parameters: Sequence[Parameters],
    inputs: Tensor,
    targets: Tensor,
    masks: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """One run: what it minimizes on a batch (B, F + 1), and what that is made of."""
    waiting = list(masks)
    values = inputs[:, :-1]
    *hidden, last = zip(network.layout, parameters, strict=True)
    for layer, pair in hidden:
        assert network.activation is not None
        values = ACTIVATIONS[network.activation](_affine(values, *pair))
        if layer.dropped:
            values = values * waiting.pop(0)
    outputs = _affine(values, *last[1])
    if isinstance(loss, CrossEntropy):
        kept = functional.log_softmax(outputs, 1)
        return -(kept * targets).sum() / len(targets), kept
    distance = functional.huber_loss if isinstance(loss, Huber) else functional.mse_loss
    return distance(outputs, targets), outputs - targets


def _affine(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    # A product with a vector is cheaper as what it is, fused with what stands around it.
    if weight.shape[0] == 1:
        return values * weight + bias
    if weight.shape[1] == 1:
        return (values * weight.mT).sum(1, keepdim=True) + bias
    return values @ weight + bias


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "descent" / "programs"


def _files(folder: Path, spec: JobSpec, threads: int) -> list[Path]:
    """One for each width, named by all that it depends on."""
    network = networks.build(spec)
    facts = [
        [repr(layer) for layer in network.layout],
        network.activation,
        type(losses.build_for_training(spec)).__name__,
        plan(spec).batch_rows,
        threads,
        torch.__version__,
        torch.backends.cpu.get_cpu_capability(),
        Path(__file__).read_text(encoding="utf-8"),
    ]
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    return [folder / f"{name}-{width}.pt2" for width in WIDTHS]


@lru_cache(maxsize=16)
def _load(file: Path) -> Callable[[list[Tensor]], list[Tensor]]:
    os.utime(file)  # the oldest go first
    runner: Callable[[list[Tensor]], list[Tensor]] = torch._inductor.aoti_load_package(str(file)).loader.run
    return runner


def _compile(spec: JobSpec, threads: int) -> None:
    """Write the programs of a spec to their files, each whole or not at all."""
    network, loss, rows = networks.build(spec), losses.build_for_training(spec), plan(spec).batch_rows
    shape = spec.dataset.shape
    for width, file in zip(WIDTHS, _files(_folder(), spec, threads), strict=True):
        torch.set_num_threads(1 if width == 1 else threads)
        numbers = [shape.features + 1, shape.outputs, *network.dropped]
        theta = torch.rand(width, network.columns)
        example = (theta, *(torch.rand(width, rows, columns) for columns in numbers))
        graph = make_fx(partial(gradients, network, loss), tracing_mode="fake")(*example)
        temporary = file.with_name(f"{os.getpid()}-{file.name}")
        exported = torch.export.export(graph, example)
        torch._inductor.aoti_compile_and_package(exported, package_path=str(temporary))
        temporary.replace(file)


def _forget_the_oldest() -> None:
    files = sorted(_folder().glob("*.pt2"), key=lambda file: file.stat().st_mtime)
    for file in files[:-MOST_FILES]:
        file.unlink(missing_ok=True)


if __name__ == "__main__":
    _compile(JobSpec.model_validate_json(sys.argv[2]), int(sys.argv[1]))
    _forget_the_oldest()
