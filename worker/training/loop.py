"""The training loop: K compatible runs as one stacked program."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from models.spec.job import JobSpec
from models.spec.plan import plan
from worker.training import losses, programs
from worker.training.batches import Batch
from worker.training.boundary import Directives, Mode, Reporter, Saved, Saving
from worker.training.cohort import Cohort
from worker.training.losses import Loss
from worker.training.observer import Observer
from worker.training.programs import Compilation, Programs
from worker.training.randomness import Member
from worker.training.splits import Round
from worker.training.stored import StoredData
from worker.training.threads import flushing_subnormals, threads
from worker.training.torch_rules import LBFGSRule


def train(
    specs: Sequence[JobSpec],
    members: Sequence[Member],
    reporter: Reporter,
    directives: Directives,
    *,
    rounds: Sequence[Round | None] | None = None,
    device: str = "cpu",
    stored: StoredData | None = None,
    memory_bytes: int | None = None,
    saving: Saving | None = None,
    resume: Saved | None = None,
) -> None:
    """Train run k as `specs[k]` asks, as `members[k]`, until every run has ended.

    With `saving` the reporter is handed all that it takes to go on, now and then; with `resume`, row k is what run k
    goes on from, to the same bits as if it had never stopped.

    A round of boosting that is not the first needs `rounds[k]`, what the rounds before it leave to it. An uploaded data
    set is read where `stored` says; with `memory_bytes`, what of it would not fit in stays on disk.

    Raises:
        ValueError: if the specs cannot share a cohort.

    """
    if len(specs) != len(members) or len({spec.cohort_key for spec in specs}) != 1:
        raise ValueError("a cohort has one spec and one member a run, and all its specs one cohort key")
    work, loss, available = plan(specs[0]), losses.build_for_training(specs[0]), torch.get_num_threads()
    with torch.inference_mode(), threads(available), flushing_subnormals():
        cohort = Cohort(specs, members, torch.device(device), available, rounds, stored, memory_bytes)
        observer = Observer(cohort, reporter, directives, specs, saving, resume)
        step = _begin(cohort, observer, resume)
        cohort.programs, mode = _programs(specs[0], observer, available, device, step)
        reporter.mode(mode)
        while observer.runs and step < work.steps:
            block = cohort.batches.block(step)
            first, stop = step, observer.next_visit(step)
            penalties = []
            while step < min(block.last, stop):
                batch = block.batches[step - block.first]
                step += 1
                penalty = _find_gradient(cohort, loss, batch, step)
                if penalty is not None:
                    penalties.append(penalty)
                if step == stop:
                    cohort.before.copy_(cohort.theta)
                _update(cohort, loss, batch, step)
                if observer.window_is_over():
                    break
            taken = slice(first - block.first, step - block.first)
            means = loss.sums(block.kept[taken], block.targets[taken])
            means /= loss.terms(work.batch_rows, block.kept.shape[3])
            observer.losses(means + torch.stack(penalties) if penalties else means)
            if step == stop:
                observer.visit(step)
            if observer.window_is_over():
                observer.report(step)


def _begin(cohort: Cohort, observer: Observer, resume: Saved | None) -> int:
    """Make the cohort ready for its next update; how many updates it has seen."""
    if resume is None:
        observer.visit(0)
    else:
        cohort.restore(resume)
    step = 0 if resume is None else resume.step
    observer.report(step)
    return step


def _programs(spec: JobSpec, observer: Observer, threads: int, device: str, step: int) -> tuple[Programs | None, Mode]:
    """The programs of a spec that has some, or why not; while they are made, runs may be asked to leave."""
    if not programs.compiles(spec, device):
        return None, Mode(compiled=False)
    if not programs.has_compiler():
        return None, Mode(compiled=False, reason="there is no C++ compiler")
    try:
        with Compilation(spec, threads) as compilation:
            while not compilation.wait(0.05):
                observer.report(step)
                if not observer.runs:
                    return None, Mode(compiled=False, reason="every run left before it was compiled")
            return compilation.programs(), Mode(compiled=True)
    except (RuntimeError, OSError) as error:
        return None, Mode(compiled=False, reason=f"the compilation failed: {error}")


def _find_gradient(cohort: Cohort, loss: Loss, batch: Batch, step: int, *, moves: bool = True) -> Tensor | None:
    """Leave the gradient of what update `step` minimizes in the cohort; the penalties in it, (K,).

    `moves` the running averages of batch normalization, which see each batch once.
    """
    regularizers = cohort.regularizers
    if batch.masks:
        cohort.network.drop(batch.masks)
    if regularizers.weight_noise is not None:
        regularizers.weight_noise.begin(cohort.theta, step)
    _pass_through(cohort, loss, batch, batch.kept)
    if cohort.averages is not None and moves:
        cohort.averages.move()
    if cohort.ascent is not None:
        cohort.ascent.climb(cohort.theta, cohort.gradient)
        _pass_through(cohort, loss, batch, torch.empty_like(batch.kept))
        cohort.ascent.come_back(cohort.theta)
    if regularizers.weight_noise is not None:
        regularizers.weight_noise.end(cohort.theta)
    penalty = None if regularizers.penalty is None else regularizers.penalty.add(cohort.theta, cohort.gradient)
    if regularizers.clipping is not None:
        regularizers.clipping.clip(cohort.gradient)
    return penalty


def _update(cohort: Cohort, loss: Loss, batch: Batch, step: int) -> None:
    """Take update `step` along the gradient at hand."""
    if isinstance(cohort.rule, LBFGSRule):
        cohort.rule.search(partial(_value, cohort, loss, batch, step), step)
    else:
        cohort.rule.step(cohort.theta, cohort.gradient, step)
    for projection in cohort.regularizers.projections:
        projection.project(cohort.theta, step)


def _value(cohort: Cohort, loss: Loss, batch: Batch, step: int) -> Tensor:
    """What update `step` of the one run minimizes, at the present parameters; its gradient is left in the cohort."""
    kept = torch.empty_like(batch.kept)
    penalty = _find_gradient(cohort, loss, replace(batch, kept=kept), step, moves=False)
    value = loss.sums(kept, batch.targets) / loss.terms(*kept.shape[1:])
    return value if penalty is None else value + penalty


def _pass_through(cohort: Cohort, loss: Loss, batch: Batch, kept: Tensor) -> None:
    """Forward and backward: what the loss is made of into `kept`, the loss's gradient into the cohort."""
    if cohort.programs is not None:
        cohort.programs.run(cohort.theta, batch, kept, cohort.gradient)
        return
    outputs = cohort.network.forward(batch.inputs)
    loss.keep(outputs, batch.targets, kept)
    loss.gradient(kept, batch.targets, cohort.network.output_gradient)
    cohort.network.backward()
