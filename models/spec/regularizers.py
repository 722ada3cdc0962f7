"""Regularizers: what keeps a network from learning the training rows by heart.

They act in training alone: every evaluation is without noise, mixing and smoothing. Those on weights spare the biases.
w is the regularizer's `weight`.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.spec.component import BareName, Component, Epsilon, Fraction, PerRun, PositiveRate, Weight
from models.spec.optimizers import SAM, SGD, GradientDescent, Momentum, Nesterov, Optimizer
from models.spec.shape import DatasetShape


class _Regularizer(Component):
    """A component that may not fit every data set and every optimizer."""

    def misfit(self, shape: DatasetShape, optimizer: Optimizer) -> str | None:  # noqa: ARG002
        """Why it cannot train on such data with this optimizer; None if it can."""
        return None


class L1(_Regularizer):
    """Adds w ‖θ‖₁ to the loss (lasso, Tibshirani 1996)."""

    kind: Literal["l1"] = "l1"
    weight: Weight = 1e-4
    """w."""
    proximal: bool = False
    """Not by w sign(θ) in the gradient, but after each step by soft thresholding, θ ← sign(θ) max(|θ| − η w, 0), so
    that zeros are exact (ISTA, Daubechies, Defrise & De Mol 2004). For optimizers with one step size η for all weights:
    gradient_descent, sgd, momentum, nesterov."""

    def misfit(self, shape: DatasetShape, optimizer: Optimizer) -> str | None:  # noqa: ARG002
        rule = optimizer.base if isinstance(optimizer, SAM) else optimizer
        if self.proximal and not isinstance(rule, GradientDescent | SGD | Momentum | Nesterov):
            return (
                f'proximal l1 needs one step size for all weights, and "{rule.kind}" scales each of its own: '
                "take gradient_descent, sgd, momentum or nesterov, or leave proximal out"
            )
        return None


class L2(_Regularizer):
    """Adds (w/2) ‖θ‖² to the loss (ridge, Hoerl & Kennard 1970): torch's `weight_decay`, on weights only."""

    kind: Literal["l2"] = "l2"
    weight: Weight = 1e-4
    """w."""


class ElasticNet(_Regularizer):
    """Adds w (r ‖θ‖₁ + (1 − r)/2 ‖θ‖²) to the loss (Zou & Hastie 2005)."""

    kind: Literal["elastic_net"] = "elastic_net"
    weight: Weight = 1e-4
    """w."""
    l1_ratio: Annotated[float, Field(ge=0, le=1), PerRun] = 0.5
    """r."""


class Dropout(_Regularizer):
    """Zeroes each hidden unit with this probability and scales the rest by 1/(1 − p) (Srivastava et al. 2014).

    The units are those behind each hidden layer of an mlp, behind each block of a cnn or cnn1d (after its pooling), and
    those that the last layer of a gru or resnet reads.
    """

    kind: Literal["dropout"] = "dropout"
    probability: Annotated[float, Field(ge=0, lt=1), PerRun] = 0.5
    """p."""


class BatchNorm(_Regularizer):
    """Normalizes each hidden unit over the batch, before its activation: γ (z − mean) / √(variance + ε) + β (Ioffe &
    Szegedy 2015).

    The map before it goes without its bias. Evaluations normalize by running averages of mean and unbiased variance
    instead, as torch.nn.BatchNorm1d and 2d do. For mlp, cnn and cnn1d, one channel being one unit; resnet has its own.
    """

    kind: Literal["batch_norm"] = "batch_norm"
    momentum: Annotated[float, Field(gt=0, le=1), PerRun] = 0.1
    """Share of the present batch in the running averages."""
    epsilon: Epsilon = 1e-5
    """ε."""


class WeightNoise(_Regularizer):
    """Takes loss and gradient at θ + σ n, n standard normal and new in each step, and updates θ itself (An 1996)."""

    kind: Literal["weight_noise"] = "weight_noise"
    standard_deviation: Weight = 0.01
    """σ."""


class Augmentation(_Regularizer):
    """Shows each training row moved a little, anew in each step (Simard, Steinkraus & Platt 2003), before all else that
    acts on a batch.

    Images and series are moved by one bilinear resampling, what lies beyond the border being taken from it.
    """

    kind: Literal["augmentation"] = "augmentation"
    flip: bool = False
    """Mirror every second row, left to right, by chance."""
    rotation: float = Field(0.0, ge=0, le=180)
    """Of images: the largest angle in degrees, either way."""
    zoom: float = Field(0.0, ge=0, le=0.9)
    """The largest relative change of size, either way: 0.1 is from 0.9 to 1.1 times."""
    translation: float = Field(0.0, ge=0, le=1)
    """The largest shift, as a share of the side, either way and along each axis."""
    amplitude: Annotated[float, Field(ge=0, le=1), PerRun] = 0.0
    """Of any data: rows are multiplied by 1 + a u, u uniform on ±1, and this is a."""

    @property
    def moves(self) -> bool:
        """Whether rows are resampled."""
        return self.flip or max(self.rotation, self.zoom, self.translation) > 0

    def misfit(self, shape: DatasetShape, optimizer: Optimizer) -> str | None:  # noqa: ARG002
        if self.moves and not shape.grid:
            return (
                "augmentation moves images and series, and the order of this data set's features means nothing: "
                "leave out all but amplitude"
            )
        if self.rotation and len(shape.grid) == 2:
            return "augmentation cannot rotate a series: leave rotation out"
        return None


class CutMix(_Regularizer):
    """Puts a box of another row into each row, and takes the shares of the areas as shares of the classes (Yun et al.
    2019). For classes of images, or of series, where the box is a segment.

    The box takes 1 − λ of the area, λ from Beta(α, α) for each batch; what of it lies beyond the border is lost. The
    other rows are another order of the batch itself.
    """

    kind: Literal["cutmix"] = "cutmix"
    alpha: Annotated[float, Field(ge=1e-3, le=1e3), PerRun] = 1.0
    """α: 1 draws λ uniformly."""

    def misfit(self, shape: DatasetShape, optimizer: Optimizer) -> str | None:  # noqa: ARG002
        if shape.task == "regression":
            return "cutmix mixes classes, and this data set is a regression: leave it out, or take mixup"
        if not shape.grid:
            return "cutmix cuts images and series, and the order of this data set's features means nothing: take mixup"
        return None


class InputNoise(_Regularizer):
    """Adds σ n to the inputs of each batch, n standard normal (Bishop 1995), after mixup."""

    kind: Literal["input_noise"] = "input_noise"
    standard_deviation: Weight = 0.1
    """σ, in the units that the network sees: standard deviations of the feature where the data set is standardized."""


class Mixup(_Regularizer):
    """Trains on λ x + (1 − λ) x′ and λ y + (1 − λ) y′, λ from Beta(α, α) for each batch (Zhang et al. 2018).

    (x′, y′) is another order of the batch itself. For classes, y are the shares of the classes.
    """

    kind: Literal["mixup"] = "mixup"
    alpha: Annotated[float, Field(ge=1e-3, le=1e3), PerRun] = 0.2
    """α: near 0 hardly anything is mixed, 1 draws λ uniformly, large values mix by halves."""


class LabelSmoothing(_Regularizer):
    """Trains towards (1 − ε) y + ε / C, y the one-hot class out of C (Szegedy et al. 2016). For classes only."""

    kind: Literal["label_smoothing"] = "label_smoothing"
    smoothing: Fraction = 0.1
    """ε."""

    def misfit(self, shape: DatasetShape, optimizer: Optimizer) -> str | None:  # noqa: ARG002
        if shape.task == "regression":
            return "label_smoothing spreads a class over all classes, and this data set is a regression: leave it out"
        return None


class LabelNoise(_Regularizer):
    """Gives a share of the training rows a wrong label, once and for all epochs (Zhang et al. 2017).

    A knob of the experiment rather than a cure: another class, each as likely, or for a regression the target of
    another training row. train_loss is about these labels; every metric of an evaluation is about the true ones, of
    training rows too. At one seed, a smaller share's wrong labels are among those of a larger one.
    """

    kind: Literal["label_noise"] = "label_noise"
    share: Annotated[float, Field(ge=0, le=1), PerRun] = 0.1
    """Share of the training rows, rounded to whole rows."""


class GradientClipping(_Regularizer):
    """g ← g min(1, c / ‖g‖), or each gᵢ into [−c, c] (Pascanu, Mikolov & Bengio 2013), penalties included.

    As torch.nn.utils.clip_grad_norm_ and clip_grad_value_ do. gradient_norm is measured after it.
    """

    kind: Literal["gradient_clipping"] = "gradient_clipping"
    by: Literal["norm", "value"] = "norm"
    """Whether c bounds the Euclidean norm over all parameters or each number by itself."""
    maximum: PositiveRate = 1.0
    """c."""


class MaxNorm(_Regularizer):
    """After each step, w ← w min(1, c / ‖w‖) for the incoming weights w of each unit, hidden or output (Srivastava
    et al. 2014).
    """

    kind: Literal["max_norm"] = "max_norm"
    maximum: PositiveRate = 3.0
    """c."""


class EarlyStopping(_Regularizer):
    """Ends the run once the validation loss has not improved for `patience` evaluations, or by another criterion of
    Prechelt (1998).

    With E(t) the validation loss at evaluation t and E* the best so far: GL(t) = 100 (E(t) / E* − 1), in percent.
    A strip is `strip` evaluations; the evaluation before the first update belongs to none, and is the end before the
    first.
    """

    kind: Literal["early_stopping"] = "early_stopping"
    criterion: Literal["patience", "generalization_loss", "progress_quotient", "successive_increases"] = "patience"
    """Prechelt's GL: stop when GL > `threshold`. PQ: at the end of a strip, when GL / P > `threshold`, where P is 1000
    times by how much the mean clean training loss of the strip exceeds its lowest, relatively. UP: when the validation
    loss has grown in `increases` strips in a row, from the end of one to the end of the next."""
    patience: Annotated[int, Field(ge=1, le=10_000), PerRun] = 10
    """Of "patience": how many evaluations in a row without improvement end the run."""
    threshold: PositiveRate = 5.0
    """Of "generalization_loss", in percent, and of "progress_quotient": Prechelt's α."""
    strip: Annotated[int, Field(ge=1, le=10_000)] = 5
    """Of "progress_quotient" and "successive_increases": evaluations a strip, Prechelt's k."""
    increases: Annotated[int, Field(ge=1, le=10_000), PerRun] = 3
    """Of "successive_increases": Prechelt's s."""
    min_delta: Annotated[float, Field(ge=0, le=1e6), PerRun] = 0.0
    """What counts as an improvement: a loss lower than the best by more than this."""
    restore_best: bool = True
    """Keep the weights of the best evaluation rather than the last."""

    @model_validator(mode="after")
    def _fields_are_those_of_the_criterion(self) -> Self:
        # By value, as a normalized spec spells out every default.
        for name, criteria in _CRITERIA_OF.items():
            if self.criterion not in criteria and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f'{name} means nothing to the criterion "{self.criterion}": leave it out, or take '
                    + " or ".join(f'"{criterion}"' for criterion in criteria)
                )
        return self


_CRITERIA_OF = {
    "patience": ("patience",),
    "threshold": ("generalization_loss", "progress_quotient"),
    "strip": ("progress_quotient", "successive_increases"),
    "increases": ("successive_increases",),
}


Regularizer = Annotated[
    L1
    | L2
    | ElasticNet
    | Dropout
    | BatchNorm
    | WeightNoise
    | Augmentation
    | InputNoise
    | Mixup
    | CutMix
    | LabelSmoothing
    | LabelNoise
    | GradientClipping
    | MaxNorm
    | EarlyStopping,
    Field(discriminator="kind"),
    BareName,
]
