"""Token buckets: amounts that may be taken in a burst, and come back at a constant rate."""

from dataclasses import dataclass, field
from math import ceil
from time import monotonic


@dataclass(slots=True)
class TokenBucket:
    """What is left of an amount."""

    limit: float
    rate: float
    """What comes back in a second, until the limit is reached."""
    left: float = field(init=False)
    """Negative after more was taken than was left."""
    updated_at: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        self.left = self.limit

    def take(self, amount: float) -> bool:
        """Take an amount, and return whether there was something left before."""
        moment = monotonic()
        self.left = min(self.limit, self.left + self.rate * (moment - self.updated_at))
        self.updated_at = moment
        was_left = self.left > 0
        self.left -= amount
        return was_left

    def seconds_to_wait(self) -> int:
        """Return the whole seconds until something is left; 0 for now."""
        return 0 if self.take(0.0) else ceil(max(1e-9, -self.left / self.rate))
