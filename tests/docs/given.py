"""What a page takes for granted that is not made on it: jobs that have been trained, data that were uploaded."""

from collections.abc import Callable
from typing import Any

from descent import Client
from tests.docs.pages import REPOSITORY

Preparation = Callable[[Client], object]


def _trained(spec: dict[str, Any]) -> Preparation:
    return lambda client: client.wait(client.submit(spec))


def _uploaded(client: Client) -> None:
    client.upload(REPOSITORY / "docs" / "passengers.csv")


_SINE = {"experiment": "rates", "dataset": "sine", "seeds": 8, "budget": {"steps": 600}}
_ADAM = _trained(_SINE | {"name": "adam", "optimizer": {"kind": "adam", "learning_rate": 0.01}})
_SGD = _trained(_SINE | {"name": "sgd", "optimizer": {"kind": "sgd", "learning_rate": 0.01}})
_SURVIVORS = _trained(
    {
        "name": "survivors",
        "dataset": {"kind": "uploaded", "id": "passengers", "missing": "impute"},
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
        "budget": {"epochs": 20},
    }
)

GIVEN: dict[str, list[Preparation]] = {
    "docs/analyses.md": [_ADAM],
    "docs/comparison.md": [_ADAM, _SGD],
    "docs/data.md": [_uploaded, _SURVIVORS],
    "docs/how-to/back-up.md": [_ADAM],
}
