"""How numbers and metrics are said in sentences."""

from math import isfinite


def number(value: float | None, digits: int = 4) -> str:
    """Four significant digits, and every digit before the point; a dash for what is unknown."""
    if value is None or not isfinite(value):
        return "–"
    whole = min(1_000, 10**digits) <= abs(value) or value == round(value)
    said = f"{value:,.0f}" if whole and abs(value) < 1e15 else f"{value:.{digits}g}"
    return said.replace("-", "−", 1) if value < 0 else said


def step_count(steps: float) -> str:
    """A number of steps; a median of an even number of runs can lie half-way."""
    return f"{steps:,.1f}".removesuffix(".0")


def seconds_in_words(seconds: float) -> str:
    """Three digits of seconds: "0.25 s", "12.5 s"; whole ones from 100 on."""
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.3g} s"


def probability(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.0001" if value < 0.0001 else f"{value:.3g}"


def p_equals(value: float | None) -> str:
    """For the middle of a sentence: "= 0.031", "< 0.0001"."""
    said = probability(value)
    return said if said.startswith("<") else f"= {said}"


def metric_words(metric: str) -> str:
    return metric.replace("_", " ")


def target_words(metric: str, better: str | None, target: float) -> str:
    """The target as a condition: "validation loss ≤ 0.02"."""
    return f"{metric_words(metric)} {'≥' if better == 'higher' else '≤'} {number(target)}"


def count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
