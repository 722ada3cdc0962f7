"""Eigenvalues and traces against dense Hessians."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from models.spec.analyses import Hessian
from tests.worker.training.analyses.trained import dense_hessian, members, spec_of, subjects_of, untrained
from worker.training.analyses import NotAnalysable, analyse, hessian
from worker.training.analyses.hessian import largest_eigenvalues

ROWS = 40
SMALL: list[dict[str, Any]] = [
    {"dataset": "sine", "network": {"kind": "mlp", "hidden": [8, 5], "activation": "tanh"}},
    {"dataset": "sine", "loss": "huber", "network": {"kind": "mlp", "hidden": [8], "activation": "gelu"}},
    {
        "dataset": "iris",
        "network": {"kind": "mlp", "hidden": [6], "activation": "silu"},
        "regularizers": ["batch_norm"],
    },
    {"dataset": "mnist1d", "network": {"kind": "cnn1d", "channels": [3, 2], "kernels": [5], "stride": 3, "pool": 2}},
    {"dataset": "mnist1d", "network": {"kind": "gru", "hidden": 1}},
    {"dataset": "digits", "network": {"kind": "resnet", "width": 1, "activation": "tanh"}},
]


@pytest.mark.parametrize("fields", SMALL, ids=str)
def test_eigenvalues_and_trace_are_those_of_the_dense_hessian(fields: dict[str, Any]) -> None:
    spec = spec_of(**fields)
    runs = [untrained(spec, seed) for seed in range(2)]
    subjects = subjects_of(spec, runs)
    found = analyse(Hessian(rows=ROWS, eigenvalues=3, probes=60), [spec] * 2, members(range(2)), runs)
    for run, findings in enumerate(found):
        dense = dense_hessian(subjects, run, ROWS)
        expected = torch.linalg.eigvalsh(dense).flip(0)[:3].numpy()
        scale = torch.linalg.eigvalsh(dense).abs().max().item()
        np.testing.assert_allclose(findings.details["eigenvalues"], expected, rtol=1e-6, atol=1e-6 * scale)
        assert findings.values["largest_eigenvalue"] == findings.details["eigenvalues"][0]
        distance = abs(findings.values["trace"] - dense.trace().item())
        assert distance < 4 * findings.values["trace_standard_error"]
        # Of one probe the variance is twice the squares beside the diagonal.
        beside = dense.square().sum() - dense.diagonal().square().sum()
        assert findings.values["trace_standard_error"] == pytest.approx(float((2 * beside / 60).sqrt()), rel=0.4)


def multiplied_by(matrices: Tensor) -> Any:
    return lambda vectors: (matrices @ vectors[..., None])[..., 0]


@pytest.mark.parametrize("rank", [1, 2, 30])
def test_eigenvalues_that_occur_twice_and_those_of_little_rank_are_found(rank: int) -> None:
    torch.manual_seed(rank)
    basis = torch.linalg.qr(torch.randn(3, 30, 30, dtype=torch.float64)).Q
    spectrum = torch.zeros(3, 30, dtype=torch.float64)
    spectrum[:, :rank] = torch.rand(3, rank, dtype=torch.float64) + 1
    spectrum[0, 1] = spectrum[0, 0]
    matrices = basis @ torch.diag_embed(spectrum) @ basis.mT
    found, residuals = largest_eigenvalues(multiplied_by(matrices), torch.randn(3, 30, dtype=torch.float64), 30, 30)
    torch.testing.assert_close(found, torch.linalg.eigvalsh(matrices).flip(1), rtol=0, atol=1e-9)
    assert residuals.max() < 1e-9


def test_large_matrices_converge_before_they_are_exhausted_as_in_arpack() -> None:
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(2, 400, 400, dtype=torch.float64)).Q
    spectrum = torch.logspace(2, -6, 400, dtype=torch.float64) * torch.tensor([[1], [-1]])
    matrices = basis @ torch.diag_embed(spectrum) @ basis.mT
    products = 0

    def product(vectors: Tensor) -> Any:
        nonlocal products
        products += 1
        return multiplied_by(matrices)(vectors)

    found, residuals = largest_eigenvalues(product, torch.randn(2, 400, dtype=torch.float64), 3, 200)
    assert products < 150
    assert (residuals <= 1e-4 * 100).all()
    operator = LinearOperator((400, 400), matvec=lambda v: matrices[0].numpy() @ v, dtype=np.float64)
    expected = np.sort(eigsh(operator, 3, which="LA", return_eigenvectors=False))[::-1]
    np.testing.assert_allclose(found[0], expected, rtol=1e-7)
    np.testing.assert_allclose(found[1], 0, atol=1e-2)


def test_a_network_that_leaves_no_room_for_vectors_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hessian, "BASIS_BYTES", 8 * 1_000)
    spec = spec_of(dataset="iris", network="mlp")
    with pytest.raises(NotAnalysable, match=r"4,675 parameters is too large .* 50 are the most"):
        analyse(Hessian(), [spec], members([0]), [untrained(spec, 0)])
