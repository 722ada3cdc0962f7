"""What a comparison answers. NaN and infinities travel as null."""

from typing import Any, Literal

from pydantic import Field

from api.comparison.align import Axis
from api.comparison.estimate import Estimate
from api.comparison.measured import JobTestScores, RunAnalysis
from api.comparison.standings import InterquartileMean, Profile, Ranking
from models.answers import Answer
from models.claims import Verdict

Score = Literal["steps_to_target", "seconds_to_target", "best", "last"]
Method = Literal["sign_flip", "sign_flip_monte_carlo", "sign_test", "nadeau_bengio", "welch", "none"]
Unpaired = Literal["not_the_same_rows", "too_few_common_seeds"]


class Claim(Answer):
    """One job is said to do better than another."""

    better: str
    """Id of the job that is said to do better."""
    worse: str
    """Id of the job that is said to do worse."""
    score: Score = "steps_to_target"


class ComparedJob(Answer):
    """One contender: a job, or several that differ in seeds alone."""

    id: str
    """Of its first job."""
    job_ids: list[str]
    name: str
    label: str
    """The name, with the id where the name is empty or shared."""
    spec_hash: str
    """Of a job with all of these seeds."""
    seeds: list[int]
    runs_by_status: dict[str, int]
    diverged: int
    """Failed runs whose loss became NaN or infinite: counted here, and in no mean."""


class DivergedRun(Answer):
    """Where a run was last seen before its loss became NaN or infinite."""

    run_id: str
    seed: int
    member: int
    x: float | None
    value: float | None


class Curve(Answer):
    """One metric over the runs of a job. Diverged runs are not averaged in; they stand beside it."""

    job_id: str
    x: list[float]
    mean: list[float | None]
    lower: list[float | None]
    upper: list[float | None]
    n: list[int]
    """How many runs stand behind each point: fewer where some ended earlier."""
    total: int
    """Points before downsampling."""
    interpolated: bool
    """The runs were recorded at different places, so values lie between recorded ones."""
    diverged: list[DivergedRun]


class SeedScore(Answer):
    """The scores of one run. Those of a run that has not succeeded are as far as it got, and in no mean."""

    run_id: str
    seed: int
    member: int
    """Which of the runs of its seed: a fold, a replicate, a member of an ensemble; 0 for a holdout."""
    status: str
    status_reason: str | None
    counted: bool
    """Succeeded, and therefore part of the means."""
    last: float | None
    best: float | None
    best_step: int | None


class TargetTime(Answer):
    """When one run first met the target."""

    run_id: str
    seed: int
    member: int
    steps: int | None
    """Null when it did not: a miss is censored at its budget, never scored as the budget."""
    seconds: float | None
    """The same on the run's own clock, interpolated; null too where the clock was not read by then."""
    total_seconds: float | None
    """What the run trained in all, and where its seconds are censored when it missed."""
    outcome: Literal["reached", "missed", "diverged", "unknown"]
    """A diverged run has missed, whatever it touched on its way. Unknown: it has not ended, or not by itself."""


class StepsToTarget(Answer):
    """How soon the runs of a job met the target."""

    target: float
    budget: int
    """Steps that each run was given."""
    runs: list[TargetTime]
    reached: int
    missed: int
    """Diverged runs included."""
    unknown: int
    median: float | None
    """Among all runs with a known outcome; null when the median run missed."""
    median_text: str
    """The median in words: "1,200", or "> 10,000" when the median run missed."""
    median_seconds: float | None
    """The same in seconds; null too where the clock of a run with a known outcome is unknown."""
    median_seconds_text: str


class TableRow(Answer):
    """One job's scores: means over runs, or over the means of seeds where the runs of a seed share their rows."""

    job_id: str
    last: Estimate
    best: Estimate
    best_step: Estimate
    runs: list[SeedScore]
    steps_to_target: StepsToTarget | None
    """Null when no target was given."""


class PairedDifference(Answer):
    """A job against the baseline on the last value, paired by seed, and by fold where there are folds."""

    job_id: str
    baseline_id: str
    method: Method
    unpaired: Unpaired | None
    """Why the runs make no pairs; null where they do."""
    pairs: int
    left_out: int
    """Seeds, or folds, without a usable run on both sides."""
    difference: Estimate
    """Job minus baseline, over the pairs in which both runs succeeded; unpaired, of the means of all that did."""
    p_value: float | None
    smallest_p: float | None
    """No data can push the test below it with this many pairs."""
    holm_p: float | None
    """Adjusted for all comparisons with the baseline."""
    seeds_needed: int
    """The fewest seeds with which a test in this family can reach 5 %."""
    sentence: str


class JudgedClaim(Answer):
    """A claim, its verdict and what it rests on."""

    claim: Claim
    statement: str
    """The claim in words."""
    verdict: Verdict
    method: Method
    unpaired: Unpaired | None
    """Why the runs make no pairs; null where they do."""
    pairs: int
    """Pairs that the test used; none where it is not paired."""
    wins: int
    """Pairs in which the job said to be better was."""
    losses: int
    ties: int
    censored: int
    """Pairs in which one side missed the target or diverged: they have a winner but no difference. Unpaired, all seeds
    that did: no test can use them then."""
    uninformative: int
    """Pairs in which both missed, or nobody can tell who was first: left out."""
    left_out: int
    """Seeds, or folds, without a usable run on both sides."""
    difference: Estimate
    """Better minus worse, mean over the pairs; null when a pair is censored: no difference is invented."""
    median_better: float | None
    median_worse: float | None
    """Medians over the pairs, or over all seeds where there are none; null when the median run missed."""
    ratio_of_medians: float | None
    """median_better / median_worse; null unless both are known and positive."""
    p_value: float | None
    smallest_p: float | None
    holm_p: float
    """Adjusted for all claims."""
    seeds_needed: int
    sentence: str


class Comparison(Answer):
    """Jobs side by side, paired by seed."""

    metric: str
    better: Literal["lower", "higher"] | None
    """Which direction of the metric is an improvement."""
    x: Axis
    target: float | None
    score: Score
    """By which the profile tells time and the ranking selects."""
    baseline: str
    """Id of the job that the others are paired with."""
    confidence: float = Field(examples=[0.95])
    jobs: list[ComparedJob]
    curves: list[Curve]
    table: list[TableRow]
    paired: list[PairedDifference]
    claims: list[JudgedClaim]
    verdict: Verdict | None
    """Supported if all claims are, refuted if any is, else undecided; null without claims."""
    profile: Profile | None
    """Null without a target, with fewer than two contenders, or without a problem that all of them tried."""
    interquartile: list[InterquartileMean]
    """By contender: a job, or its likes on several data sets."""
    ranking: Ranking | None
    """Null for one job, for a metric that is not measured on validation rows, and across data sets."""
    analyses: list[RunAnalysis] = Field(default_factory=list)
    """What was measured of the trained networks."""
    test_scores: list[JobTestScores] = Field(default_factory=list)
    """Of those jobs whose sealed rows were opened."""
    spec_diff: dict[str, dict[str, Any]]
    """The fields in which the specs differ: dotted path → job id → value; a job without the field is absent."""
    warnings: list[str]
