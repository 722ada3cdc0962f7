"""Writes the pages of this folder that the code already knows; `--check` only says whether they are up to date."""

import re
import sys
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any

from descent import labs
from descent.lab_results import ClaimResult, LabResult, cells, notes
from descent.labs import Lab
from models.metrics import METRICS
from models.settings import Settings
from models.spec.component import Component, choices, per_run_fields
from models.spec.families import FAMILIES

FOLDER = Path(__file__).parent
LABS = FOLDER / "labs"
"""What came out of each lab when it was last run: `make labs` writes it."""
ORIGIN = "<!-- Written by docs/generate.py: change the code, then `make docs`. -->"


def components() -> Iterator[str]:
    yield "# Components"
    yield ORIGIN
    yield (
        "Every choice that a spec can make. A bare name stands for the component with its defaults: "
        '`"optimizer": "adam"` is `"optimizer": {"kind": "adam"}`. '
        "Fields marked • may differ between runs that train together in one cohort; any other difference makes "
        "another cohort."
    )
    for family, union in FAMILIES.items():
        yield f"## {family.capitalize()}"
        for component in choices(union):
            yield from _component(component)


def _component(component: type[Component]) -> Iterator[str]:
    yield f"### `{component.model_fields['kind'].default}`"
    yield cleandoc(component.__doc__ or "")
    fields: dict[str, dict[str, Any]] = component.model_json_schema()["properties"]
    per_run = per_run_fields(component)
    rows = [
        (f"`{name}`{' •' if name in per_run else ''}", _default(field), _bounds(field), field.get("description", ""))
        for name, field in fields.items()
        if name != "kind"
    ]
    if rows:
        yield _table(("field", "default", "allowed", "meaning"), rows)


def _default(field: dict[str, Any]) -> str:
    return f"`{_json(field['default'])}`" if "default" in field else "required"


def _json(value: Any) -> str:
    if isinstance(value, dict) and "kind" in value:
        return str(value["kind"])  # a component with its defaults
    text = {True: "true", False: "false", None: "null"}
    return text[value] if isinstance(value, bool | None) else str(value)


def _bounds(field: dict[str, Any]) -> str:
    if isinstance(field.get("default"), dict):
        return "component" if "kind" in field["default"] else "object"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {_number(field[name])}" for name, sign in signs.items() if name in field]
    return ", ".join(bounds) or " ".join(f"`{value}`" for value in field.get("enum", ())) or field.get("type", "")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else str(value)


def metrics() -> Iterator[str]:
    yield "# Metrics"
    yield ORIGIN
    yield "The names in every run's history."
    rows = [
        (f"`{metric.name}`", metric.description + (f" ({metric.unit})" if metric.unit else ""), metric.better or "–")
        for metric in METRICS.values()
    ]
    yield _table(("metric", "what it is", "better"), rows)


def settings() -> Iterator[str]:
    yield "# Settings"
    yield ORIGIN
    yield (
        "The API and the workers read the same environment variables. "
        "A file `/run/secrets/descent_<name>` sets `<name>` too, so that passwords need not stand in an environment."
    )
    rows = [
        (f"`DESCENT_{name.upper()}`", f"`{_shown(field.default)}`", field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    yield _table(("variable", "default", "meaning"), rows)


def _shown(default: Any) -> str:
    return "" if default is None else str(default).replace("'", '"')


def lab_pages() -> Iterator[str]:
    found = [(lab, _stored(lab)) for lab in labs.load_all(labs.names())]
    yield "# Labs"
    yield ORIGIN
    yield (
        "Experiments that check what is taught. `descent lab run NAME` runs one on the service at hand, or else on a "
        "private one; `--quick` runs a smaller version. No lab states its own result: a verdict is what the service "
        "computed from the runs, supported, refuted or undecided. A lab is supported if all of its claims are, and "
        "refuted if any is. `make labs` runs all of them and writes what this page tells."
    )
    rows = [
        (
            f"[{lab.name}](#{lab.name})",
            lab.title,
            "–" if result is None else result.verdict,
            "–" if result is None else _count(result),
            "–" if result is None else f"{result.seconds:,.0f}",
        )
        for lab, result in found
    ]
    yield _table(("lab", "question", "verdict", "claims", "seconds"), rows)
    for lab, result in found:
        yield from _lab(lab, result)


def _stored(lab: Lab) -> LabResult | None:
    path = LABS / f"{lab.name}.json"
    return LabResult.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None


def _count(result: LabResult) -> str:
    verdicts = [claim.verdict for claim in result.claims]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(sorted(verdicts)))


def _lab(lab: Lab, result: LabResult | None) -> Iterator[str]:
    yield f"## {lab.name}"
    yield f"**{lab.title}**"
    for heading, text in (("Claim", lab.claim), ("Judged by", lab.judged_by), ("Caveat", lab.caveat)):
        yield f"*{heading}.* {text}"
    if result is None:
        yield f"It has not been run yet: `descent lab run {lab.name} --store docs/labs` does, then `make docs`."
        return
    version, runs = "the quick version, " if result.quick else "", sum(job.runs for job in result.jobs)
    yield (
        f"Verdict: **{result.verdict}** ({version}{runs} runs in {result.seconds:,.0f} s on {result.machine}, "
        f"{result.finished_at:%Y-%m-%d})."
    )
    if result.fingerprint != (lab.as_quick() if result.quick else lab).fingerprint:
        yield "The lab has changed since: these numbers are of an earlier version."
    headings = ("claim", "verdict", "means", "effect", "95 % interval", "seeds", "p", "Holm p")
    yield _table(headings, [_claim(claim) for claim in result.claims])
    if beside := notes(result):
        yield "\n".join(f"- {note}" for note in beside)


def _claim(claim: ClaimResult) -> tuple[str, ...]:
    return (claim.statement, claim.verdict, *cells(claim))


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return (
            "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|").replace("``", "–") for cell in cells) + " |"
        )

    return "\n".join([line(headings), line(("---",) * len(headings)), *map(line, rows)])


PAGES = {"components.md": components, "metrics.md": metrics, "settings.md": settings, "labs.md": lab_pages}


def main() -> int:
    stale = []
    for name, write in PAGES.items():
        path, text = FOLDER / name, "\n\n".join(write()) + "\n"
        if "--check" in sys.argv:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"docs/{', docs/'.join(stale)} no longer say what the code says: run `make docs`.\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
