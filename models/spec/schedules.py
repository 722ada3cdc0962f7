"""Schedules: the factor by which the learning rate of each update is multiplied.

η is the optimizer's learning rate. The first update comes after i = 0 updates, the last of n after i = n − 1. The
values are those of torch.optim.lr_scheduler.
"""

from typing import Annotated, Literal

from pydantic import Field

from models.spec.component import BareName, Component, PerRun

Steps = Annotated[int, Field(ge=1, le=10_000_000), PerRun]
Decay = Annotated[float, Field(gt=0, le=1), PerRun]
Divisor = Annotated[float, Field(ge=1, le=1e12), PerRun]


class Constant(Component):
    """η all the way."""

    kind: Literal["constant"] = "constant"


class Warmup(Component):
    """η (f + (1 − f) min(i / steps, 1)) after i updates: up in a line, then constant (Goyal et al. 2017).

    torch's LinearLR.
    """

    kind: Literal["warmup"] = "warmup"
    steps: Steps = 100
    """Updates until the factor is 1."""
    start_factor: Annotated[float, Field(gt=0, le=1), PerRun] = 0.01
    """f, the factor of the first update."""


class StepDecay(Component):
    """η γ^⌊i / every_steps⌋ after i updates: down in stairs (torch's StepLR)."""

    kind: Literal["step"] = "step"
    every_steps: Steps = 1_000
    """Updates between two stairs."""
    gamma: Decay = 0.1
    """γ."""


class Exponential(Component):
    """η γ^e after e whole epochs (torch's ExponentialLR, stepped once an epoch)."""

    kind: Literal["exponential"] = "exponential"
    gamma: Decay = 0.95
    """γ: what an epoch leaves of the learning rate. With the batch size "full", an epoch is one update."""


class Cosine(Component):
    """η (m + (1 − m) (1 + cos(π i / n)) / 2) after i of the budget's n updates (Loshchilov & Hutter 2017).

    Down to m η, without restarts: torch's CosineAnnealingLR.
    """

    kind: Literal["cosine"] = "cosine"
    minimum_factor: Annotated[float, Field(ge=0, le=1), PerRun] = 0.0
    """m."""


class OneCycle(Component):
    """Up from η / d to η, then down to η / (d f), each along half a cosine (Smith & Topin 2018; torch's OneCycleLR).

    The optimizer's learning rate is the highest of the cycle. Its momentum stays as it is.
    """

    kind: Literal["one_cycle"] = "one_cycle"
    warmup_fraction: Annotated[float, Field(ge=0, le=1), PerRun] = 0.3
    """Share of the budget that goes up."""
    initial_divisor: Divisor = 25.0
    """d."""
    final_divisor: Divisor = 1e4
    """f."""


Schedule = Annotated[
    Constant | Warmup | StepDecay | Exponential | Cosine | OneCycle,
    Field(discriminator="kind"),
    BareName,
]
