"""Evaluation: which rows train, which choose, and which stay sealed."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.spec.component import BareName, Component


class Holdout(Component):
    """Three disjoint splits. The test rows are the same for every run of a data set and stay sealed;
    train and validation rows are drawn anew for each seed.
    """

    kind: Literal["holdout"] = "holdout"
    validation: float = Field(0.2, gt=0, lt=1)
    """Share of all rows that validate."""
    test: float = Field(0.2, ge=0, lt=1)
    """Share of all rows that are sealed away."""

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave rows to train on: keep their sum below 1")
        return self

    def sizes(self, rows: int) -> tuple[int, int, int]:
        """Rows in (train, validation, test); each split that was asked for has at least one row."""
        test = max(1, round(rows * self.test)) if self.test else 0
        validation = max(1, round(rows * self.validation))
        return rows - validation - test, validation, test


# A family of one still carries its tag: k-fold and its kin join here.
Evaluation = Annotated[Holdout, BareName]
