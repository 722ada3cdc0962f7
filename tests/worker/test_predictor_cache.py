"""Networks that the predictor keeps in memory."""

from typing import TYPE_CHECKING, cast
from unittest.mock import Mock

if TYPE_CHECKING:
    from worker.training.predictor import Predictor

from worker.predictor_cache import PredictorCache


def cache(loaded: list[str], most: int = 3, most_bytes: int = 100) -> PredictorCache:
    """A cache of networks that take as many bytes as the id of their run says."""

    def load(run_id: str, storage_key: str) -> "Predictor":
        loaded.append(run_id)
        return cast("Predictor", Mock(parameter_bytes=int(run_id)))

    return PredictorCache(load, most=most, most_bytes=most_bytes)


def test_the_networks_used_last_are_kept() -> None:
    loaded: list[str] = []
    networks = cache(loaded)
    for run_id in ("1", "2", "3", "1", "4", "1", "3", "2"):
        networks.get(run_id, "weights")
    assert loaded == ["1", "2", "3", "4", "2"], "the second one made room for the fourth"


def test_large_networks_make_room_for_each_other() -> None:
    loaded: list[str] = []
    networks = cache(loaded)
    for run_id in ("60", "40", "60", "50", "40", "500", "500", "60"):
        networks.get(run_id, "weights")
    assert loaded == ["60", "40", "50", "40", "500", "60"]


def test_a_run_with_other_weights_is_loaded_again() -> None:
    loaded: list[str] = []
    networks = cache(loaded)
    for storage_key in ("first", "first", "second"):
        networks.get("1", storage_key)
    assert loaded == ["1", "1"]
