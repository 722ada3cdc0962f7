"""Optimizers: the rule that turns a gradient into a step.

θ are the parameters, g the gradient of the loss at θ, η the learning rate. Defaults are those of torch.optim.
"""

from typing import Annotated, Literal

from pydantic import Field

from models.spec.component import BareName, Component, Epsilon, Fraction, PerRun, PositiveRate, Weight

Betas = Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]], PerRun]


class GradientDescent(Component):
    """θ ← θ − η g, with g over the whole training split (Cauchy 1847). Its batch size is always "full"."""

    kind: Literal["gradient_descent"] = "gradient_descent"
    learning_rate: PositiveRate = 1e-2
    """η."""


class SGD(Component):
    """θ ← θ − η g, with g over a random batch (Robbins & Monro 1951)."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: PositiveRate = 1e-2
    """η."""


class Momentum(Component):
    """v ← μ v + g; θ ← θ − η v (Polyak 1964, in torch's form: the learning rate stays outside the velocity)."""

    kind: Literal["momentum"] = "momentum"
    learning_rate: PositiveRate = 1e-2
    """η."""
    momentum: Fraction = 0.9
    """μ."""


class Nesterov(Component):
    """v ← μ v + g; θ ← θ − η (g + μ v) (Nesterov 1983; Sutskever et al. 2013, in torch's form)."""

    kind: Literal["nesterov"] = "nesterov"
    learning_rate: PositiveRate = 1e-2
    """η."""
    momentum: Annotated[float, Field(gt=0, lt=1), PerRun] = 0.9
    """μ."""


class Adagrad(Component):
    """s ← s + g²; θ ← θ − η g / (√s + ε) (Duchi, Hazan & Singer 2011)."""

    kind: Literal["adagrad"] = "adagrad"
    learning_rate: PositiveRate = 1e-2
    """η."""
    learning_rate_decay: Weight = 0.0
    """η at step t is η / (1 + (t − 1) · decay)."""
    initial_accumulator: Weight = 0.0
    """s before the first step."""
    epsilon: Epsilon = 1e-10
    """ε."""


class Adadelta(Component):
    """s ← ρ s + (1 − ρ) g²; Δ = g √(u + ε) / √(s + ε); u ← ρ u + (1 − ρ) Δ²; θ ← θ − η Δ (Zeiler 2012)."""

    kind: Literal["adadelta"] = "adadelta"
    learning_rate: PositiveRate = 1.0
    """η."""
    rho: Fraction = 0.9
    """ρ."""
    epsilon: Epsilon = 1e-6
    """ε."""


class RMSprop(Component):
    """s ← α s + (1 − α) g²; θ ← θ − η g / (√s + ε) (Tieleman & Hinton 2012), optionally with momentum."""

    kind: Literal["rmsprop"] = "rmsprop"
    learning_rate: PositiveRate = 1e-2
    """η."""
    alpha: Fraction = 0.99
    """α."""
    epsilon: Epsilon = 1e-8
    """ε."""
    momentum: Fraction = 0.0
    """v ← μ v + g / (√s + ε); θ ← θ − η v."""


class Adam(Component):
    """m ← β₁ m + (1 − β₁) g; s ← β₂ s + (1 − β₂) g²; θ ← θ − η m̂ / (√ŝ + ε), bias-corrected (Kingma & Ba 2015)."""

    kind: Literal["adam"] = "adam"
    learning_rate: PositiveRate = 1e-3
    """η."""
    betas: Betas = (0.9, 0.999)
    """β₁ and β₂."""
    epsilon: Epsilon = 1e-8
    """ε."""


class AdamW(Component):
    """θ ← θ − η λ θ, then Adam's step: decay decoupled from the gradient (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: PositiveRate = 1e-3
    """η."""
    betas: Betas = (0.9, 0.999)
    """β₁ and β₂."""
    epsilon: Epsilon = 1e-8
    """ε."""
    weight_decay: Weight = 1e-2
    """λ; acts on every parameter, biases too, as in torch."""


Optimizer = Annotated[
    GradientDescent | SGD | Momentum | Nesterov | Adagrad | Adadelta | RMSprop | Adam | AdamW,
    Field(discriminator="kind"),
    BareName,
]
