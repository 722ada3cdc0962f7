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
    """v ← μ v + (1 − d) g; θ ← θ − η v (Polyak 1964, in torch's form: the learning rate stays outside the velocity)."""

    kind: Literal["momentum"] = "momentum"
    learning_rate: PositiveRate = 1e-2
    """η."""
    momentum: Fraction = 0.9
    """μ."""
    dampening: Annotated[float, Field(ge=0, le=1), PerRun] = 0.0
    """d. As in torch, the first update has v = g, and d counts for nothing where μ is 0."""


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
    """s ← α s + (1 − α) g²; θ ← θ − η g / (√s + ε) (Tieleman & Hinton 2012), optionally with momentum, or centered."""

    kind: Literal["rmsprop"] = "rmsprop"
    learning_rate: PositiveRate = 1e-2
    """η."""
    alpha: Fraction = 0.99
    """α."""
    epsilon: Epsilon = 1e-8
    """ε."""
    momentum: Fraction = 0.0
    """v ← μ v + g / (√s + ε); θ ← θ − η v."""
    centered: bool = False
    """√(s − m²) in the place of √s, with m ← α m + (1 − α) g (Graves 2013): the variance, not the second moment."""


class Adam(Component):
    """m ← β₁ m + (1 − β₁) g; s ← β₂ s + (1 − β₂) g²; θ ← θ − η m̂ / (√ŝ + ε), bias-corrected (Kingma & Ba 2015)."""

    kind: Literal["adam"] = "adam"
    learning_rate: PositiveRate = 1e-3
    """η."""
    betas: Betas = (0.9, 0.999)
    """β₁ and β₂."""
    epsilon: Epsilon = 1e-8
    """ε."""
    amsgrad: bool = False
    """The largest s so far in the place of s, divided by 1 − β₂ᵗ as in torch (Reddi, Kale & Kumar 2018)."""


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
    amsgrad: bool = False
    """The largest s so far in the place of s, divided by 1 − β₂ᵗ as in torch (Reddi, Kale & Kumar 2018)."""


class NAdam(Component):
    """θ ← θ − η (μₜ₊₁ m / (1 − Πₜ₊₁) + (1 − μₜ) g / (1 − Πₜ)) / (√ŝ + ε): Adam that looks ahead (Dozat 2016).

    m, ŝ and ε are Adam's; μₜ = β₁ (1 − ½ 0.96^(t ψ)) and Πₜ = μ₁ ⋯ μₜ.
    """

    kind: Literal["nadam"] = "nadam"
    learning_rate: PositiveRate = 2e-3
    """η."""
    betas: Betas = (0.9, 0.999)
    """β₁ and β₂."""
    epsilon: Epsilon = 1e-8
    """ε."""
    momentum_decay: Weight = 4e-3
    """ψ."""


class RAdam(Component):
    """θ ← θ − η r m̂ / (√ŝ + ε) once s has seen enough gradients, θ ← θ − η m̂ before (Liu et al. 2020).

    With ρ∞ = 2 / (1 − β₂) − 1 and ρ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ), enough is ρ > 5, and
    r² = (ρ − 4) (ρ − 2) ρ∞ / ((ρ∞ − 4) (ρ∞ − 2) ρ). As in torch, ε is added before the bias correction of s.
    """

    kind: Literal["radam"] = "radam"
    learning_rate: PositiveRate = 1e-3
    """η."""
    betas: Betas = (0.9, 0.999)
    """β₁ and β₂."""
    epsilon: Epsilon = 1e-8
    """ε."""


class Adamax(Component):
    """m ← β₁ m + (1 − β₁) g; u ← max(β₂ u, |g| + ε); θ ← θ − η m̂ / u (Kingma & Ba 2015, section 7.1)."""

    kind: Literal["adamax"] = "adamax"
    learning_rate: PositiveRate = 2e-3
    """η."""
    betas: Betas = (0.9, 0.999)
    """β₁ and β₂."""
    epsilon: Epsilon = 1e-8
    """ε."""


BaseRule = SGD | Momentum | Nesterov | Adagrad | Adadelta | RMSprop | Adam | AdamW | NAdam | RAdam | Adamax


class SAM(Component):
    """Steps from θ by another rule, with the gradient at θ + ρ g / ‖g‖: sharpness-aware (Foret et al. 2021).

    Both gradients are of the same batch with the same dropout and noise: an update is twice the work. Penalties stay
    outside, as in the paper. train_loss is that at θ, gradient_norm that of the second gradient.
    """

    kind: Literal["sam"] = "sam"
    base: Annotated[BaseRule, Field(discriminator="kind"), BareName] = Momentum()
    """The rule that takes the step: any other but gradient_descent, for which sgd with the batch size "full" stands."""
    rho: Weight = 0.05
    """ρ."""
    adaptive: bool = False
    """θ + ρ θ² g / ‖θ g‖ instead, which does not depend on the scale of the weights (ASAM, Kwon et al. 2021)."""

    @property
    def learning_rate(self) -> float:
        """η of the base rule."""
        return self.base.learning_rate


class Muon(Component):
    """Momentum whose update of each weight matrix is made orthogonal by Newton-Schulz iterations (Jordan 2024), as
    torch.optim.Muon has it.

    For the weights of hidden layers. The last layer, biases and normalizations take AdamW, as its author advises. Runs
    train one by one.
    """

    kind: Literal["muon"] = "muon"
    learning_rate: PositiveRate = 1e-3
    """η of the hidden weights."""
    adamw_learning_rate: PositiveRate = 1e-3
    """η of all others, in the same schedule."""
    momentum: Fraction = 0.95
    """μ."""
    nesterov: bool = True
    weight_decay: Weight = 0.1
    """Of the hidden weights, decoupled as in AdamW."""
    iterations: int = Field(5, ge=1, le=20)
    """Of Newton and Schulz, an update."""


class LBFGS(Component):
    """Limited-memory BFGS (Liu & Nocedal 1989), as torch.optim.LBFGS has it. Its batch size is always "full".

    An update takes loss and gradient several times. Runs train one by one.
    """

    kind: Literal["lbfgs"] = "lbfgs"
    learning_rate: PositiveRate = 1.0
    """η, with which a line search begins."""
    iterations: int = Field(1, ge=1, le=1_000)
    """Quasi-Newton iterations an update; torch's default is 20."""
    history: int = Field(100, ge=1, le=1_000)
    """Updates that are remembered."""
    line_search: bool = True
    """Search along the direction for a place that meets the strong Wolfe conditions, in at most 25 looks."""


class PytorchOptimizer(Component):
    """An optimizer of the Python package pytorch_optimizer, by its name there: lion, adopt, prodigy, …

    The workers need the package: the extra `optimizers`. Runs train one by one, and a name or option that the package
    does not know fails the run, with its reason.
    """

    kind: Literal["pytorch_optimizer"] = "pytorch_optimizer"
    name: str = Field("lion", pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")
    """As pytorch_optimizer.load_optimizer knows it."""
    learning_rate: PositiveRate = 1e-3
    """η."""
    options: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], bool | int | float | str | list[float]] = (
        Field({}, max_length=32)
    )
    """Its other arguments."""


ALONE = (Muon, LBFGS, PytorchOptimizer)
"""Whose runs train one by one."""

FULL_BATCH = (GradientDescent, LBFGS)
"""That need the gradient over the whole training split."""

Optimizer = Annotated[
    GradientDescent | BaseRule | SAM | Muon | LBFGS | PytorchOptimizer,
    Field(discriminator="kind"),
    BareName,
]
