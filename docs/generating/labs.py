"""labs.md: what each lab asks, and what came out when it was last run."""

from pathlib import Path

from descent.lab_results import ClaimResult, LabResult, cells, notes
from docs.generating.markdown import ORIGIN, Parts, table
from models import labs
from models.labs import Lab

STORE = Path(__file__).parents[1] / "labs"
"""What came out of each lab when it was last run: `make labs` writes it."""


def lab_pages() -> Parts:
    found = [(lab, _stored(lab)) for lab in labs.shipped().values()]
    yield "# Labs"
    yield ORIGIN
    yield (
        "Experiments that check what is taught. The dashboard runs them under *Labs*; `descent lab run NAME` runs one "
        "on the service at hand, or else on a private one, and `--quick` a smaller version. No lab states its own "
        "result: a verdict is what the service computed from the runs, supported, refuted or undecided. A lab is "
        "supported if all of its claims are, and refuted if any is. `make labs` runs all of them and writes what this "
        "page tells."
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
    yield table(("lab", "question", "verdict", "claims", "seconds"), rows)
    for lab, result in found:
        yield from _lab(lab, result)


def _stored(lab: Lab) -> LabResult | None:
    path = STORE / f"{lab.name}.json"
    return LabResult.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None


def _count(result: LabResult) -> str:
    verdicts = [claim.verdict for claim in result.claims]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(sorted(verdicts)))


def _lab(lab: Lab, result: LabResult | None) -> Parts:
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
    yield table(headings, [_claim(claim) for claim in result.claims])
    if beside := notes(result):
        yield "\n".join(f"- {note}" for note in beside)


def _claim(claim: ClaimResult) -> tuple[str, ...]:
    return (claim.statement, claim.verdict, *cells(claim))
