"""Regularizers: what keeps a network from learning the training rows by heart.

Penalties act on weights, not on biases. w is the regularizer's `weight`.
"""

from typing import Annotated, Literal

from pydantic import Field

from models.spec.component import BareName, Component, PerRun, Weight


class L1(Component):
    """Adds w ‖θ‖₁ to the loss (lasso, Tibshirani 1996)."""

    kind: Literal["l1"] = "l1"
    weight: Weight = 1e-4
    """w."""


class L2(Component):
    """Adds (w/2) ‖θ‖² to the loss (ridge, Hoerl & Kennard 1970): torch's `weight_decay`, on weights only."""

    kind: Literal["l2"] = "l2"
    weight: Weight = 1e-4
    """w."""


class ElasticNet(Component):
    """Adds w (r ‖θ‖₁ + (1 − r)/2 ‖θ‖²) to the loss (Zou & Hastie 2005)."""

    kind: Literal["elastic_net"] = "elastic_net"
    weight: Weight = 1e-4
    """w."""
    l1_ratio: Annotated[float, Field(ge=0, le=1), PerRun] = 0.5
    """r."""


class Dropout(Component):
    """Zeroes each hidden unit with this probability and scales the rest by 1/(1 − p) (Srivastava et al. 2014)."""

    kind: Literal["dropout"] = "dropout"
    probability: Annotated[float, Field(ge=0, lt=1), PerRun] = 0.5
    """p."""


class EarlyStopping(Component):
    """Ends the run once the validation loss has not improved for `patience` evaluations (Prechelt 1998)."""

    kind: Literal["early_stopping"] = "early_stopping"
    patience: Annotated[int, Field(ge=1, le=10_000), PerRun] = 10
    """Evaluations without improvement that are still endured."""
    min_delta: Annotated[float, Field(ge=0, le=1e6), PerRun] = 0.0
    """What counts as an improvement: a loss lower than the best by more than this."""
    restore_best: bool = True
    """Keep the weights of the best evaluation rather than the last."""


Regularizer = Annotated[L1 | L2 | ElasticNet | Dropout | EarlyStopping, Field(discriminator="kind"), BareName]
