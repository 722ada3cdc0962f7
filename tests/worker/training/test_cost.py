import gc
from typing import Any

import pytest
import torch

from models.spec.component import choices
from models.spec.job import JobSpec
from models.spec.optimizers import BaseRule
from models.spec.plan import matrices, plan
from models.spec.regularizers import Regularizer
from worker.training import networks
from worker.training.cohort import Cohort
from worker.training.cost import cohort_limit, default_threads, threads_for
from worker.training.randomness import Member

PLENTY = 1 << 40


def spec(hidden: list[int], **changes: Any) -> JobSpec:
    network = {"kind": "mlp", "hidden": hidden}
    return JobSpec.model_validate({"dataset": "digits", "network": network, "optimizer": "adam"} | changes)


def limit(spec: JobSpec, memory_bytes: int = PLENTY) -> int:
    return cohort_limit(spec, device="cpu", threads=2, memory_bytes=memory_bytes)


def test_small_networks_take_64_and_the_number_falls_as_networks_grow() -> None:
    limits = [limit(spec(hidden)) for hidden in ([16], [64, 64], [256, 128], [512, 256], [2048, 2048])]
    assert limits[0] == 64
    assert limits == sorted(limits, reverse=True)
    assert limits[2] >= 8
    assert limits[-1] == 1


def test_the_number_grows_with_the_cores_that_share_the_runs() -> None:
    for hidden in ([64, 64], [256, 128]):
        limits = [
            cohort_limit(spec(hidden), device="cpu", threads=threads, memory_bytes=PLENTY) for threads in (1, 2, 8)
        ]
        assert limits == sorted(limits)
        assert limits[2] >= 2 * limits[1]


def test_a_gpu_takes_more_of_small_networks_than_two_cores() -> None:
    small = spec([64, 64])
    assert cohort_limit(small, device="cuda", threads=2, memory_bytes=PLENTY) > limit(small)


def test_what_torch_itself_updates_rides_alone() -> None:
    for optimizer in ("muon", "lbfgs", "pytorch_optimizer"):
        assert limit(spec([16], optimizer=optimizer)) == 1


def test_memory_bounds_a_cohort_but_never_to_none() -> None:
    small = spec([16])
    assert limit(small, memory_bytes=5 * plan(small).memory_bytes) == 5
    assert limit(small, memory_bytes=1) == 1


@pytest.mark.parametrize("hidden", [[16], [256, 128], [512, 256], [1024, 1024], [4096]])
def test_a_network_whose_products_are_cut_into_parts_never_has_company(hidden: list[int]) -> None:
    assert threads_for(spec(hidden), 1, 2) == 1 or limit(spec(hidden)) == 1
    assert threads_for(spec(hidden), 5, 2) == 2


def test_one_thread_is_the_default_except_for_networks_that_train_alone() -> None:
    assert [default_threads(spec(hidden), 8) for hidden in ([64, 64], [256, 128], [2048, 2048])] == [1, 1, 8]


def kinds(family: Any) -> list[str]:
    return [component.model_fields["kind"].default for component in choices(family)]


@pytest.mark.parametrize(
    "changes",
    [
        *({"optimizer": kind} for kind in kinds(BaseRule)),
        *({"regularizers": [kind]} for kind in kinds(Regularizer)),
        {"optimizer": {"kind": "adam", "amsgrad": True}},
        {"optimizer": {"kind": "rmsprop", "centered": True}},
        {"optimizer": "gradient_descent"},
        {"optimizer": "sam"},
        {"optimizer": {"kind": "sam", "base": "adam"}},
        {"optimizer": "sgd", "regularizers": [{"kind": "l1", "proximal": True}]},
        {"regularizers": ["l1", "l2", "elastic_net"]},
        {"regularizers": [{"kind": "early_stopping", "restore_best": False}]},
    ],
    ids=str,
)
def test_a_cohort_keeps_as_many_matrices_as_were_planned(changes: dict[str, Any]) -> None:
    planned = spec([37], **changes)
    shape = (3, networks.build(planned).columns)
    gc.freeze()  # Hides the objects of earlier tests from `get_objects`.
    try:
        with torch.inference_mode():
            cohort = Cohort([planned] * 3, [Member(seed) for seed in range(3)], torch.device("cpu"), 1)
            kept = [t for t in gc.get_objects() if type(t) is torch.Tensor and t.shape == shape]
    finally:
        gc.unfreeze()
    assert len({t.data_ptr() for t in kept}) == matrices(planned)
    assert cohort.theta.shape == shape
