"""How many runs train together, and on how many threads."""

from models.spec.job import JobSpec
from models.spec.optimizers import ALONE
from models.spec.plan import layout, plan

MOST_RUNS = 64
"""Beyond this many runs of a small network the speed no longer grows."""

COHORT_FLOPS = 256e6
"""Arithmetic of one step of a whole cohort, up to which more runs pay."""

LONE_FLOPS = 64e6
"""Arithmetic of one step of one run, from which its products are large enough to be spread over threads."""


def step_flops(spec: JobSpec) -> float:
    """Floating-point operations of one gradient of one run: 2 a multiply-add, forward once and backward twice."""
    return 6.0 * plan(spec).batch_rows * sum(layer.multiplications for layer in layout(spec))


def trains_alone(spec: JobSpec) -> bool:
    """Whether one run's work is so large that company would not speed it up."""
    return step_flops(spec) >= LONE_FLOPS


def threads_for(spec: JobSpec, runs: int, threads: int) -> int:
    """Threads for a cohort of this many runs.

    Several runs share the threads matrix by matrix, so each product is one thread's. A lone run's products would be
    cut into parts, whose edges round differently: small ones, which gain nothing by it, stay on one thread and keep
    the bits that they have in company. Large ones are cut, and `cohort_limit` never gives them company.
    """
    return 1 if runs == 1 and not trains_alone(spec) else threads


def cohort_limit(spec: JobSpec, *, device: str, threads: int, memory_bytes: int) -> int:
    """How many runs of this spec one cohort should take, at least 1.

    Stacking saves what a step costs beside its arithmetic, so it pays less as the arithmetic grows, and past some
    megabytes the cohort's matrices leave the caches. Measured on two cores, speed over the bare loop: 1.6 MFLOP a step
    5 × alone and 16 × among 64; 20 MFLOP 1.4 × alone, 2.5 × among 4 to 8, 1.9 × among 64; 64 MFLOP 1.2 × alone, 1.4 ×
    among 2, falling. The number is of the spec and the memory alone: it does not change from one claim to the next.
    """
    del device, threads  # measured on two cores of one kind so far
    work = plan(spec)
    if trains_alone(spec) or isinstance(spec.optimizer, ALONE):
        return 1
    return max(1, min(MOST_RUNS, int(COHORT_FLOPS / step_flops(spec)), memory_bytes // work.memory_bytes))
