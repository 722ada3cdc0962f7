from typing import Any

import pytest

from models.spec.job import JobSpec
from models.spec.plan import plan
from worker.training.cost import cohort_limit, threads_for

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


def test_memory_bounds_a_cohort_but_never_to_none() -> None:
    small = spec([16])
    assert limit(small, memory_bytes=5 * plan(small).memory_bytes) == 5
    assert limit(small, memory_bytes=1) == 1


@pytest.mark.parametrize("hidden", [[16], [256, 128], [512, 256], [1024, 1024], [4096]])
def test_a_network_whose_products_are_cut_into_parts_never_has_company(hidden: list[int]) -> None:
    assert threads_for(spec(hidden), 1, 2) == 1 or limit(spec(hidden)) == 1
    assert threads_for(spec(hidden), 5, 2) == 2
