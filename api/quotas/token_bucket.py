"""Token buckets: a burst up to a limit, refilled at a constant rate."""

from dataclasses import dataclass, field
from math import ceil
from time import monotonic


@dataclass(slots=True)
class TokenBucket:
    """A token bucket."""

    limit: float
    rate: float
    """Tokens that are refilled per second, up to the limit."""
    left: float = field(init=False)
    """Negative after more was charged than was available."""
    updated_at: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        self.left = self.limit

    def take(self, amount: float) -> bool:
        """Take tokens if enough are available, and return whether they were taken."""
        self.charge(0.0)
        if self.left < amount:
            return False
        self.left -= amount
        return True

    def charge(self, amount: float) -> None:
        """Take tokens that are spent already."""
        moment = monotonic()
        self.left = min(self.limit, self.left + self.rate * (moment - self.updated_at)) - amount
        self.updated_at = moment

    def seconds_to_wait(self) -> int:
        """Return the whole seconds until the bucket is no longer negative."""
        self.charge(0.0)
        return ceil(max(0.0, -self.left / self.rate))
