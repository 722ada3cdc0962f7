"""The sections of the page in their order, and those that hold a chart, which the script fills."""

from collections.abc import Iterator
from html import escape
from typing import Any

from api.comparison.exports import estimate_words
from api.comparison.report.heading import claims, heading
from api.comparison.report.markup import chart, choices, folded, note, select, swatch, table
from api.comparison.report.tables import footer, ranking, scores, spec, test_scores
from api.comparison.result import Comparison
from api.comparison.wording import count, metric_words, target_words

_TALLEST = 620
"""Pixels of a chart before it scrolls."""


def sections(comparison: Comparison, data: dict[str, Any], title: str) -> Iterator[str]:
    """`data` is what the charts show; see `drawn`."""
    yield from heading(comparison, title)
    yield from claims(comparison)
    yield from _legend(comparison)
    yield from _curves(comparison, data)
    yield '<div class="pair">'
    yield from _last_values(comparison, data)
    yield from _targets(comparison, data)
    yield "</div>\n"
    yield from _differences(comparison)
    yield from _profile(comparison)
    yield from ranking(comparison)
    yield from _measured(data)
    yield from _fields(data)
    yield from _pictures(data)
    yield from scores(comparison)
    yield from test_scores(comparison)
    yield from spec(comparison)
    yield from footer(comparison)


def _legend(comparison: Comparison) -> Iterator[str]:
    entries = "".join(
        f'<button type="button" aria-pressed="false" data-job="{index}">{swatch(index)}{escape(job.label)}</button>'
        for index, job in enumerate(comparison.jobs)
    )
    yield f'<nav id="legend" aria-label="Jobs: press one to highlight it in every chart">{entries}</nav>\n'


def _curves(comparison: Comparison, data: dict[str, Any]) -> Iterator[str]:
    metrics = [(one["name"], one["label"]) for one in data["metrics"]]
    yield '<section><div class="bar"><h2>Curves</h2>'
    if len(metrics) > 1:
        yield select("metric", "Metric", metrics)
    yield choices("y-scale", "Vertical axis", [("log", "log y"), ("linear", "linear y")])
    yield choices("x-scale", "Horizontal axis", [("linear", "linear x"), ("log", "log x")])
    yield choices("bands", "Bands", [("on", "bands"), ("off", "no bands")])
    yield f"</div>{chart('curves', 'Mean curves of each job', 430)}"
    words = f"Mean over seeds; the band is its {comparison.confidence:.0%} t interval."
    if any(one["diverged"] for curves in data["curves"].values() for one in curves):
        words += " ✕ marks where a run diverged; it is in no mean."
    yield f"{note(words)}</section>\n"


def _rows_of_jobs(name: str, label: str, jobs: int, extra: int = 76) -> str:
    """Room for a chart with a row a job."""
    row = 46 if jobs <= 6 else 34 if jobs <= 12 else 20
    height = extra + row * max(2, jobs)
    return chart(name, label, height, scrolls=height > _TALLEST)


def _last_values(comparison: Comparison, data: dict[str, Any]) -> Iterator[str]:
    yield '<section><div class="bar"><h2>Last value by seed</h2></div>'
    yield _rows_of_jobs("scores", "The last value of each run, by job", len(comparison.jobs))
    words = "A dot is a run, a diamond their mean with its interval."
    if not data["joined"]:
        words += " From the best to the worst mean."
    elif len(comparison.jobs) > 1:
        words += " Thin lines join runs of one seed: they saw the same rows in the same order."
    yield f"{note(words)}</section>"


def _targets(comparison: Comparison, data: dict[str, Any]) -> Iterator[str]:
    if comparison.target is not None:
        words = target_words(comparison.metric, comparison.better, comparison.target)
        yield f'<section><div class="bar"><h2>Time to {escape(words)}</h2>'
        yield choices("time", "Time in", [("steps", "steps"), ("seconds", "seconds")])
        yield "</div>"
        yield _rows_of_jobs("targets", f"Time of each run to {words}, by job", len(comparison.jobs))
        words = "A bar marks the median. Open markers missed the target and stand at their budget."
        yield note(words if data["joined"] else f"{words} From the shortest to the longest.")
        yield "</section>"


def _differences(comparison: Comparison) -> Iterator[str]:
    if not comparison.paired:
        return
    baseline = next(job.label for job in comparison.jobs if job.id == comparison.baseline)
    yield f"<section><h2>Against the baseline, {escape(baseline)}</h2>"
    if any(one.difference.mean is not None for one in comparison.paired):
        yield _rows_of_jobs("differences", f"Difference of each job from {baseline}", len(comparison.paired), extra=96)
        yield note(
            f"Job minus baseline in {metric_words(comparison.metric)}, mean over pairs with its "
            f"{comparison.confidence:.0%} t interval. Grey is undecided: its Holm-adjusted p is above 0.05."
        )
    yield f'<div class="words">{folded([one.sentence for one in comparison.paired])}</div></section>\n'


def _profile(comparison: Comparison) -> Iterator[str]:
    profile = comparison.profile
    if profile is None:
        return
    yield '<section><h2>Performance profile</h2><div class="beside">'
    yield chart("profile", "Share of problems solved within τ", 320)
    middle = {tuple(one.job_ids): one.estimate for one in comparison.interquartile}
    rows = [
        [
            curve.label,
            f"{curve.score:.2f}",
            f"{curve.solved} of {profile.problems}",
            estimate_words(middle[tuple(curve.job_ids)]) if tuple(curve.job_ids) in middle else "–",
        ]
        for curve in sorted(profile.curves, key=lambda curve: -curve.score)
    ]
    yield f"{table(['contender', 'score B', 'solved', 'interquartile mean'], rows)}</div>"
    words = (
        f"The share of {count(profile.problems, 'problem')} (seeds on a data set) on which a contender's "
        f"{_SCORE_WORDS[profile.score]} are at most τ times the fastest one's; B is the mean of that share up to "
        "τ = 4. Both depend on who else is compared."
    )
    if profile.left_out:
        words += f" {count(profile.left_out, 'problem')} left out: some contender has no finished run there."
    yield f"{note(words)}</section>\n"


_SCORE_WORDS = {"steps_to_target": "steps to the target", "seconds_to_target": "seconds to the target"}


def _measured(data: dict[str, Any]) -> Iterator[str]:
    if data["measured"] is None:
        return
    names = [(name, name.replace("_", " ")) for name in data["measured"]["names"]]
    yield '<section><div class="bar"><h2>Sharpness and generalization</h2>'
    yield f"{select('measure', 'Measured', names)}</div>"
    yield chart("measured", "What was measured of each network against its generalization gap", 400)
    yield note(
        "One dot a run, at the end of its training: its generalization gap is its validation loss minus its clean "
        "training loss. That two things go together does not tell which brings about the other."
    )
    yield "</section>\n"


def _fields(data: dict[str, Any]) -> Iterator[str]:
    if data["fields"] is None:
        return
    width = 130 * len(data["fields"]["axes"])
    yield '<section><h2>Specs and scores</h2><div class="wide" tabindex="0" role="region" aria-label="Chart">'
    yield f'<div style="min-width:{width}px">{chart("fields", "The fields in which the specs differ", 400)}</div></div>'
    words = "A line is a job, through its values of the fields in which the specs differ."
    if data["fields"]["scored"]:
        words = f"{words[:-1]}, to its mean last value at the right."
    if data["fields"]["left_out"]:
        words += f" {count(data['fields']['left_out'], 'more field')} below, in the table."
    yield f"{note(words)}</section>\n"


def _pictures(data: dict[str, Any]) -> Iterator[str]:
    if data["predictions"] is not None:
        words = "One thin curve a seed, after the step at the left; dots are the data."
        yield _grid("predictions", "Predictions over the data", words, data["predictions"])
    if data["regions"] is not None:
        words = (
            "The class that the first seed's network sees at each place, the stronger the surer it is, after the step "
            "at the left; dots are rows that it learned from, in the color of their class."
        )
        yield _grid("regions", "Decision regions over the data", words, data["regions"])


def _grid(name: str, heading: str, words: str, found: dict[str, Any]) -> str:
    rows, columns = len(found["steps"]), len(found["columns"])
    if found["left_out"]:
        words += f" {count(found['left_out'], 'more job')} not drawn."
    return (
        f'<section><h2>{heading}</h2><div class="wide" tabindex="0" role="region" aria-label="{heading}">'
        f'<div style="min-width:{76 + 158 * columns}px">{chart(name, heading, 64 + 190 * rows)}</div></div>'
        f"{note(words)}</section>\n"
    )
