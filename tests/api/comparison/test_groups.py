"""Which jobs are one contender."""

from collections.abc import Callable

import pytest

from api.comparison.compare import compare
from api.comparison.groups import across_datasets, grouped
from api.comparison.history import JobHistory, labels
from api.comparison.result import Claim

Fabricate = Callable[..., JobHistory]


def ending_at(values: dict[int, float]) -> dict[int, list[float]]:
    return {seed: [9.0, value] for seed, value in values.items()}


def test_jobs_that_differ_in_seeds_alone_are_one_contender(make_job: Fabricate) -> None:
    jobs = [
        make_job("a", ending_at({0: 1, 1: 2}), name="sgd"),
        make_job("b", ending_at({0: 3, 1: 4, 2: 5, 3: 6}), name="adam", optimizer="adam"),
        make_job("c", ending_at({2: 3, 3: 4}), name="sgd", snapshots={"c-2": [(0, {})]}),
    ]
    both = grouped(jobs)
    assert [job.job_ids for job in both] == [["a", "c"], ["b"]]
    assert both[0].spec.spec_hash == make_job("z", ending_at(dict.fromkeys(range(4), 0.0))).spec.spec_hash
    assert "c-2" in both[0].snapshots
    found = compare(both, baseline="c", claims=[Claim(better="c", worse="b", score="last")])
    assert [(job.id, job.job_ids, job.label, job.seeds) for job in found.jobs] == [
        ("a", ["a", "c"], "sgd", [0, 1, 2, 3]),
        ("b", ["b"], "adam", [0, 1, 2, 3]),
    ]
    assert found.baseline == "a"
    assert found.claims[0].claim.better == "a"
    assert found.paired[0].pairs == 4
    assert found.table[0].last.mean == 2.5
    assert [run.run_id for run in found.table[0].runs] == ["a-0", "a-1", "c-2", "c-3"]


def test_jobs_that_share_a_seed_are_never_one(make_job: Fabricate) -> None:
    jobs = [
        make_job("a", ending_at({0: 1, 1: 2})),
        make_job("b", ending_at({1: 1, 2: 2})),
        make_job("c", ending_at({2: 1, 3: 2})),
    ]
    assert [job.job_ids for job in grouped(jobs)] == [["a", "c"], ["b"]]
    with pytest.raises(ValueError, match="stands 2 times"):
        compare([*grouped(jobs), jobs[2]])


def test_across_data_sets_jobs_alike_in_all_else_are_one_contender(make_job: Fabricate) -> None:
    jobs = [
        make_job(f"{name} {dataset}", ending_at({0: 1}), optimizer=name, dataset=dataset)
        for dataset in ("moons", "circles")
        for name in ("sgd", "adam")
    ]
    found = across_datasets(jobs, labels(jobs))
    assert [one.job_ids for one in found] == [["sgd moons", "sgd circles"], ["adam moons", "adam circles"]]
    assert found[0].label == "sgd moons and 1 more"
    renamed = [make_job(f"{n}", ending_at({0: 1}), name="sgd", dataset=d) for n, d in enumerate(("moons", "circles"))]
    assert [one.label for one in across_datasets(renamed, labels(renamed))] == ["sgd"]


def test_on_one_data_set_each_job_stands_for_itself(make_job: Fabricate) -> None:
    jobs = [make_job("a", ending_at({0: 1})), make_job("b", ending_at({0: 1}))]
    assert [one.job_ids for one in across_datasets(jobs, labels(jobs))] == [["a"], ["b"]]
