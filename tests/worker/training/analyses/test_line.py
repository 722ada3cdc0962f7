"""The line between two networks."""

from typing import Any

import numpy as np
import pytest

from models.spec.analyses import Line
from tests.worker.training.analyses.trained import members, spec_of, subjects_of, untrained
from worker.training.analyses import NotAnalysable, analyse

NETWORKS: list[dict[str, Any]] = [
    {"dataset": "sine", "network": {"kind": "mlp", "hidden": [8, 5]}},
    {"dataset": "iris", "network": {"kind": "mlp", "hidden": [6]}, "regularizers": ["batch_norm"]},
    {"dataset": "mnist1d", "network": {"kind": "gru", "hidden": 2}},
]


@pytest.mark.parametrize("fields", NETWORKS, ids=str)
@pytest.mark.parametrize("points", [7, 8])
@pytest.mark.parametrize("split", ["training", "validation"])
def test_the_ends_of_the_line_are_the_two_networks(fields: dict[str, Any], points: int, split: Any) -> None:
    spec = spec_of(**fields)
    runs, other = [untrained(spec, seed) for seed in range(2)], untrained(spec, 9)
    found = analyse(
        Line(to="run_9", rows=25, points=points, split=split), [spec] * 2, members([0, 1]), runs, other=other
    )
    for run, findings in enumerate(found):
        here, there = (subjects_of(spec, [one, one]).objective(split, 25).losses[run] for one in (runs[run], other))
        assert findings.values["loss"] == pytest.approx(float(here))
        assert findings.values["other_loss"] == pytest.approx(float(there))
        alphas, losses = np.array(findings.details["alphas"]), np.array(findings.details[split]["losses"])
        assert (alphas[0], alphas[-1], len(alphas)) == (-1, 2, points)
        assert np.isfinite(losses).all()
        if points == 7:
            assert alphas[[2, 4]] == pytest.approx([0, 1], abs=1e-12)
            assert losses[[2, 4]] == pytest.approx([float(here), float(there)])
        highest = losses[(alphas > -1e-9) & (alphas < 1 + 1e-9)].max()
        assert findings.values["barrier"] == pytest.approx(max(0, highest - max(here, there)), abs=1e-9)
        accuracies = findings.details[split].get("accuracies")
        assert (accuracies is None) == (spec.dataset.shape.task == "regression")
        if accuracies is not None:
            assert all(0 <= share <= 1 for share in accuracies)


def test_a_line_to_itself_has_no_barrier() -> None:
    spec = spec_of(**NETWORKS[1])
    run = untrained(spec, 0)
    (found,) = analyse(Line(to="run_0"), [spec], members([0]), [run], other=run)
    assert found.values["barrier"] == pytest.approx(0, abs=1e-12)
    assert found.details["training"]["losses"] == pytest.approx([found.values["loss"]] * 25)


@pytest.mark.parametrize("hidden", [[4], [6, 6], [6, 1]])
def test_a_line_to_another_network_is_refused(hidden: list[int]) -> None:
    spec = spec_of(dataset="iris", network={"kind": "mlp", "hidden": [6]})
    other = spec_of(dataset="iris", network={"kind": "mlp", "hidden": hidden})
    with pytest.raises(NotAnalysable, match="the other run has another network"):
        analyse(Line(to="run_9"), [spec], members([0]), [untrained(spec, 0)], other=untrained(other, 0))
