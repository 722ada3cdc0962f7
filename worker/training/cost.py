"""How many runs train together, and on how many threads."""

from dataclasses import dataclass

from models.spec.job import JobSpec
from models.spec.optimizers import ALONE
from models.spec.plan import layout, plan


@dataclass(frozen=True)
class Pays:
    """Up to where more runs in a cohort pay, on one kind of device."""

    runs: int
    """Of a small network: beyond these its speed no longer grows."""
    flops: float
    """Arithmetic of one step of the whole cohort."""


PER_CORE = Pays(runs=32, flops=128e6)
"""Of each thread, which has caches of its own and an even share of the runs; a single one takes the runs of two."""

PER_GPU = Pays(runs=512, flops=8e9)
"""An estimate: some 100 kernels a step that take 5 µs to start, at 20 TFLOP/s. It was measured on no device."""

MOST_RUNS = 512
"""However many cores: what is evaluated and reported a step grows with the runs."""

FEWEST_RUNS = 8
"""A cohort of a small network that leaves company to idle workers keeps so many: with four it has half of its speed."""

LONE_FLOPS = 64e6
"""Arithmetic of one step of one run, from which its products are large enough to be spread over threads."""


def step_flops(spec: JobSpec) -> float:
    """Floating-point operations of one gradient of one run: 2 a multiply-add, forward once and backward twice."""
    return 6.0 * plan(spec).batch_rows * sum(layer.multiplications for layer in layout(spec))


def trains_alone(spec: JobSpec) -> bool:
    """Whether one run's work is so large that company would not speed it up."""
    return step_flops(spec) >= LONE_FLOPS


def default_threads(spec: JobSpec, cores: int) -> int:
    """Threads on which a process trains or analyses a spec where the settings do not say: one, or all of its cores.

    The threads of a cohort wait for each other many times a step. A second thread gains a fifth on an idle machine;
    beside one busy program, eight runs of 1-64-64-1 took a hundred times as long with it. Only the products of a
    network that trains alone are large enough to gain more than that risks.
    """
    return cores if trains_alone(spec) else 1


def threads_for(spec: JobSpec, runs: int, threads: int) -> int:
    """Threads for a cohort of this many runs.

    Several runs share the threads matrix by matrix, so each product is one thread's. A lone run's products would be
    cut into parts, whose edges round differently: small ones, which gain nothing by it, stay on one thread and keep
    the bits that they have in company. Large ones are cut, and `cohort_limit` never gives them company.
    """
    return 1 if runs == 1 and not trains_alone(spec) else threads


def streams(spec: JobSpec, memory_bytes: int) -> bool:
    """Whether the rows of the spec's data stay on disk, as not even one run would have them all in memory."""
    counted = plan(spec)
    return counted.streamable_bytes > 0 and counted.memory_bytes > memory_bytes


def cohort_limit(spec: JobSpec, *, device: str, threads: int, memory_bytes: int) -> int:
    """How many runs of this spec one cohort should take, at least 1.

    Stacking saves what a step costs beside its arithmetic, so it pays less as the arithmetic grows, and past some
    megabytes a core the cohort's matrices leave the caches. Measured on two cores, speed over the bare loop: 1.6 MFLOP
    a step 5 × alone and 16 × among 64; 20 MFLOP 1.4 × alone, 2.5 × among 4 to 8, 1.9 × among 64; 64 MFLOP 1.2 × alone,
    1.4 × among 2, falling.
    """
    if trains_alone(spec) or isinstance(spec.optimizer, ALONE):
        return 1
    pays = Pays(PER_CORE.runs * max(2, threads), PER_CORE.flops * threads) if device == "cpu" else PER_GPU
    counted = plan(spec)
    bytes_a_run = counted.least_bytes if streams(spec, memory_bytes) else counted.memory_bytes
    runs = min(MOST_RUNS, pays.runs, int(pays.flops / step_flops(spec)), memory_bytes // bytes_a_run)
    return max(1, runs)
