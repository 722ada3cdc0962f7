"""MNIST-1D (Greydanus 2020, "Scaling Deep Learning Down", arXiv:2011.14439), drawn as its authors drew it.

The published file is one sequence of draws of NumPy's legacy Mersenne Twister, so these come from there and not from
this engine's own streams: the seed, the generator's methods and the order in which they are called are the data set.
"""

import numpy as np

from worker.training.synthetic import Classes, Floats

SEED = 42
ROWS_PER_DIGIT = 500
LEAST_PADDING, MOST_PADDING = 36, 60
CANVAS = 12 + MOST_PADDING
"""Points on which a row is composed."""
POINTS = 40
"""Points that are left of them."""
SHIFTS = 48

# Where the pen is, from left to right, while it writes a digit from top to bottom.
STROKES = np.array(
    [
        [5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5],
        [5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5],
        [5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5],
        [5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5],
        [5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5],
        [5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5],
        [5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5],
        [5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5],
    ]
)


def generate(shuffle_points: bool) -> tuple[Floats, Classes]:
    """Signals (5000, 40) and their digits (5000,), the published training rows before the published test rows."""
    draws = np.random.RandomState(SEED)
    digits = np.repeat(np.arange(10), ROWS_PER_DIGIT)
    templates = _templates()
    signals = np.stack([_signal(templates[digit], draws) for digit in digits])
    order = draws.permutation(len(digits))
    signals, digits = signals[order], digits[order]
    if shuffle_points:
        signals = signals[:, draws.permutation(POINTS)]
    return (signals - signals.mean()) / signals.std(), digits


def _templates() -> Floats:
    """The strokes with a standard deviation of 1/6 each, starting and ending at 0: (10, 12)."""
    templates: Floats = (STROKES - STROKES[:, :1]) / (6 * STROKES.std(axis=1, keepdims=True))
    return templates


def _signal(template: Floats, draws: np.random.RandomState) -> Floats:
    """One row (40,), before all rows are brought to a common scale. The order of the draws is part of the data."""
    padding = LEAST_PADDING + int(draws.random_sample() * (MOST_PADDING - LEAST_PADDING + 1))
    # A trace above 0 tells a template's own zeros from the padding, which is background.
    signal = _resample(np.append(template + 1e-8, np.zeros(padding)), CANVAS)
    signal *= 1 + 0.4 * (draws.random_sample() - 0.5)
    signal = np.roll(signal, draws.randint(SHIFTS))
    background = _smooth(0.25 * draws.standard_normal(CANVAS))
    signal = np.where(signal == 0, background, signal) + 0.02 * draws.standard_normal(CANVAS)
    shear = 0.75 * (draws.random_sample() - 0.5)
    return _resample(signal - shear * np.linspace(-0.5, 0.5, CANVAS), POINTS)


def _resample(signal: Floats, points: int) -> Floats:
    """Linear interpolation at so many evenly spaced places, both ends included."""
    resampled: Floats = np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(signal)), signal)
    return resampled


def _smooth(noise: Floats) -> Floats:
    """A Gaussian filter of 2 points' standard deviation, cut off at 4 of them, on a signal mirrored at its ends."""
    reach = 8
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / 2) ** 2)
    return np.convolve(np.pad(noise, reach, mode="symmetric"), weights / weights.sum(), mode="valid")
