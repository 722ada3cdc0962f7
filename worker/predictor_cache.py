"""Networks that the predictor keeps in memory for the next question."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.training.predictor import Predictor


class PredictorCache:
    """Keeps the predictors that were used last, and always the latest one."""

    def __init__(self, load: Callable[[str, str], "Predictor"], *, most: int, most_bytes: int) -> None:
        """Keep at most `most` predictors, whose parameters take at most `most_bytes` together."""
        self._load = load
        self._most = most
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, str], Predictor] = OrderedDict()
        """The least recently used first."""

    def get(self, run_id: str, storage_key: str) -> "Predictor":
        """Return the predictor of a run with the weights under a storage key."""
        place = run_id, storage_key
        if place not in self._kept:
            self._kept[place] = self._load(run_id, storage_key)
        self._kept.move_to_end(place)
        while len(self._kept) > 1 and (len(self._kept) > self._most or self._bytes() > self._most_bytes):
            self._kept.popitem(last=False)
        return self._kept[place]

    def _bytes(self) -> int:
        return sum(predictor.parameter_bytes for predictor in self._kept.values())
