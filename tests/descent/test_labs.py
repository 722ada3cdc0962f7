import pytest
from pydantic import ValidationError

from descent import DescentError, documents, labs
from models.spec.plan import plan


@pytest.mark.parametrize("name", labs.names())
def test_every_shipped_lab_is_a_set_of_jobs_that_could_be_submitted(name: str) -> None:
    lab = labs.load(name)
    assert lab.name == name
    for job in lab.jobs:
        assert job.experiment == lab.experiment
        assert plan(job).steps > 0


@pytest.mark.parametrize("name", labs.names())
def test_every_shipped_lab_has_seeds_enough_for_its_own_test_to_decide(name: str) -> None:
    lab = labs.load(name)
    smallest_p = 2 / 2 ** len(lab.jobs[0].seeds)
    assert len({job.seeds for job in lab.jobs}) == 1
    assert smallest_p * len(lab.compare.claims) < 0.05


def test_the_optimizers_lab_differs_in_the_optimizer_alone() -> None:
    lab = labs.load("optimizers")
    assert [job.name for job in lab.jobs] == ["sgd", "momentum", "adam"]
    rest = [{k: v for k, v in job.canonical().items() if k != "optimizer"} for job in lab.jobs]
    assert rest[0] == rest[1] == rest[2]
    assert {job.optimizer.learning_rate for job in lab.jobs} == {0.01}
    assert sum(len(job.seeds) for job in lab.jobs) == 24


def test_a_claim_about_a_job_that_is_not_there_is_refused() -> None:
    lab = labs.load("optimizers").model_dump()
    lab["compare"]["claims"] = ["adam < rmsprop"]
    with pytest.raises(ValidationError, match="rmsprop"):
        labs.Lab.model_validate(lab)


def test_an_unknown_lab_is_answered_with_those_there_are() -> None:
    with pytest.raises(DescentError, match="optimizers"):
        labs.load("alchemy")


def test_a_number_with_an_exponent_is_a_number() -> None:
    assert documents.parse("a: 1e-2\nb: -1.5E+3\nc: 1e", "spec") == {"a": 0.01, "b": -1500.0, "c": "1e"}


@pytest.mark.parametrize("text", ["- 1", "", "a: [", "\t- x: {", "!!python/object/apply:os.getcwd []"])
def test_a_document_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(DescentError):
        documents.parse(text, "spec")
