"""What the API tells of labs: what there is, and all that it takes to run one."""

from models.answers import Answer
from models.claims import Claim
from models.labs import Lab, Ranking
from models.spec.job import JobSpec


class LabSummary(Answer):
    """An experiment that ships with Descent: a claim as it is taught, and how it is judged."""

    name: str
    title: str
    claim: str
    judged_by: str
    caveat: str
    """What its verdict does not say."""
    experiment: str
    """Of all its jobs."""
    jobs: int
    """That are judged."""
    runs: int
    """That are trained in all, those that only choose from a grid among them."""
    claims: int

    @classmethod
    def of(cls, lab: Lab) -> "LabSummary":
        return cls.model_validate(_summary(lab))


class LabContender(Answer):
    """A point of a grid."""

    told: str
    """`learning rate 0.1`, for people."""
    trial: JobSpec
    """To be trained, and compared with the other trials."""
    judged: JobSpec
    """To be trained if its trial ranks first."""


class LabChoice(Answer):
    """A job that is judged as the best of a grid, which is found on seeds of its own."""

    name: str
    """Of the job that is judged."""
    contenders: list[LabContender]


class LabPlan(LabSummary):
    """A lab with its jobs: train them under one tag, open what is to be opened, and have the claims judged."""

    tag: str
    """Append a name for this run of the lab, and give every job the result as a tag. It names the lab's content."""
    specs: list[JobSpec]
    """To be trained as they are."""
    choices: list[LabChoice]
    """Whose trials are trained first: the one that ranks first says which job is judged."""
    ranking: Ranking | None
    """By what trials rank, and how to compare the jobs."""
    to_open: list[str]
    """Names of the jobs whose sealed test a claim is about."""
    family: list[Claim]
    """Claims about jobs by their names: put their ids there, and send all of them to POST /v1/verdicts."""

    @classmethod
    def of(cls, lab: Lab) -> "LabPlan":
        choices = [
            LabChoice(
                name=tuned.base.name,
                contenders=[LabContender.model_validate(one._asdict()) for one in tuned.contenders],
            )
            for tuned in lab.tuned
        ]
        return cls(
            **_summary(lab),
            tag=lab.tag,
            specs=list(lab.jobs),
            choices=choices,
            ranking=lab.compare,
            to_open=lab.to_open,
            family=lab.family,
        )


def _summary(lab: Lab) -> dict[str, object]:
    told = ("name", "title", "claim", "judged_by", "caveat", "experiment", "runs")
    counts = {"jobs": len(list(lab.specs)), "claims": len(lab.family)}
    return {name: getattr(lab, name) for name in told} | counts
