"""Evaluation: which rows train, which choose, and which stay sealed; and how many networks that takes.

A seed has one run for each member: one for a holdout, else one for each fold, replicate, ensemble member or round. The
sealed rows are the same for every run on a data set. Seeds decide who validates; members of one seed share it.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from models.spec.component import BareName, Component


class _Evaluation(Component):
    """A component that says how many runs a seed has, and how many rows each of them sees."""

    test: float = Field(0.2, ge=0, lt=1)
    """Share of all rows that are sealed away."""
    one_after_another: ClassVar[bool] = False
    """Whether a member needs what the members before it have predicted."""

    @property
    def members(self) -> int:
        """Runs a seed."""
        return 1

    def sealed(self, rows: int) -> int:
        """Rows that are sealed away; at least one where any are asked for."""
        return max(1, round(rows * self.test)) if self.test else 0


class _Validated(_Evaluation):
    """Train and validation rows are drawn anew for each seed."""

    validation: float = Field(0.2, gt=0, lt=1)
    """Share of all rows that validate."""
    stratified: bool = False
    """Whether training and validation rows have their shares of each class, to one row."""

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave rows to train on: keep their sum below 1")
        return self

    def sizes(self, rows: int) -> tuple[int, int, int]:
        """Rows in (train, validation, test); each split that was asked for has at least one row."""
        test = self.sealed(rows)
        validation = max(1, round(rows * self.validation))
        return rows - validation - test, validation, test


class Holdout(_Validated):
    """Three disjoint splits. The test rows are the same for every run of a data set and stay sealed;
    train and validation rows are drawn anew for each seed.
    """

    kind: Literal["holdout"] = "holdout"


class KFold(_Evaluation):
    """Cross-validation: each fold of the rows that are not sealed validates once and trains otherwise.

    Folds are of ⌊n/k⌋ rows, the few left over train in every run; the folds of classes have their shares of each class,
    to one row. Each repeat divides the rows anew.
    """

    kind: Literal["k_fold"] = "k_fold"
    folds: int = Field(5, ge=2, le=100)
    """k."""
    repeats: int = Field(1, ge=1, le=100)
    """How often the rows are divided: k runs each."""

    @property
    def members(self) -> int:
        return self.folds * self.repeats

    def sizes(self, rows: int) -> tuple[int, int, int]:
        """Rows in (train, validation, test)."""
        test = self.sealed(rows)
        fold = (rows - test) // self.folds
        return rows - test - fold, fold, test


class Bootstrap(_Validated):
    """Replicates of one training: each draws as many training rows as there are, with replacement (Efron 1979).

    How far apart they are tells variance from bias; how well each does on the rows that it never drew is the
    leave-one-out bootstrap, and with the training error the .632 estimate (Efron 1983).
    """

    kind: Literal["bootstrap"] = "bootstrap"
    replicates: int = Field(50, ge=2, le=1_000)
    """Networks a seed."""

    @property
    def members(self) -> int:
        return self.replicates


class Bagging(_Validated):
    """An ensemble of equals: each member trains on a bootstrap sample, and they vote or are averaged (Breiman 1996)."""

    kind: Literal["bagging"] = "bagging"
    ensemble: int = Field(20, ge=2, le=1_000)
    """Members."""

    @property
    def members(self) -> int:
        return self.ensemble


class Boosting(_Validated):
    """An ensemble whose members make up for those before them, one round after the other.

    For classes SAMME (Zhu et al. 2009): rows that the last member got wrong gain weight, each later round trains on
    rows drawn by weight, and a member votes with α = log((1 − error) / error) + log(C − 1). For a regression each round
    fits what the sum of the members before it leaves (Friedman 2001, squared error).
    """

    kind: Literal["boosting"] = "boosting"
    rounds: int = Field(10, ge=2, le=200)
    """Members."""
    shrinkage: float = Field(1.0, gt=0, le=1)
    """By which each member counts: a factor of its α, or of its part in the sum (Friedman's ν)."""
    one_after_another: ClassVar[bool] = True

    @property
    def members(self) -> int:
        return self.rounds


Evaluation = Annotated[Holdout | KFold | Bootstrap | Bagging | Boosting, Field(discriminator="kind"), BareName]
