"""Where contenders stand among each other: profile, interquartile means, ranking."""

from typing import Literal

from api.comparison.estimate import Estimate
from models.answers import Answer


class ProfileCurve(Answer):
    """One contender's performance profile: a step function of τ."""

    label: str
    job_ids: list[str]
    """One job, or its likes on several data sets."""
    solved: int
    """Problems on which it met the target."""
    score: float
    """B, from 0 to 1."""
    tau: list[float]
    """A grid of even ratios from 1 to 4, and each place at which this contender's curve steps."""
    share: list[float]
    """ρ at each τ: the share of problems that took it at most τ times as long as the fastest contender."""


class Profile(Answer):
    """How often each contender is among the fastest (Dolan & Moré 2002), and a score of that (Dahl et al. 2023).

    A problem is a seed on a data set, judged on one set of rows; r is a contender's time to the target there over the
    best of all contenders' times, infinite for a miss. ρ(τ) is the share of problems with r ≤ τ, and
    B = mean max(0, 4 − r) / 3, which is the mean of ρ over τ from 1 to 4. All of this depends on who else is compared:
    another contender changes the best times. What does not are the times of the runs, in the table.
    """

    score: Literal["steps_to_target", "seconds_to_target"]
    """What is taken for time."""
    problems: int
    left_out: int
    """Problems on which some contender has no run, or none that has ended."""
    curves: list[ProfileCurve]


class InterquartileMean(Answer):
    """The mean of the middle half of a contender's last values, over seeds and data sets (Agarwal et al. 2021)."""

    label: str
    job_ids: list[str]
    datasets: int
    """Data sets over which it is taken."""
    estimate: Estimate
    """Percentile bootstrap within each data set; no interval for fewer than 20 values, for which it would be too
    narrow."""


class RankedContender(Answer):
    """One contender, standing for the best spec that it tried."""

    rank: int | None
    """Equal means share a rank; null where no spec has a result."""
    label: str
    job_id: str | None
    """The job of its best spec."""
    job_ids: list[str]
    """Of all specs that it tried."""
    tried: int
    """How many specs it tried: its budget for tuning."""
    diverged: int
    """Of these, specs with a run that diverged: they cannot be the best."""
    estimate: Estimate
    """Of the best spec."""
    difference: Estimate
    """Best spec minus the leader's, paired where they share rows, with the interval of this one difference; nulls for
    the leader."""
    tied: bool | None
    """The interval of the difference to the leader includes 0; null for the leader, and without an interval."""


class Ranking(Answer):
    """Contenders by the mean of the metric on rows that validate; nothing is selected on test rows.

    The best of n specs is an optimistic pick: some of its lead is luck, more of it the more were tried.
    """

    by: str
    """The field of the spec whose values contend; empty where every job does."""
    score: Literal["last", "best"]
    even_budgets: bool
    """All contenders tried equally many specs: if not, who tried more had more chances."""
    contenders: list[RankedContender]
