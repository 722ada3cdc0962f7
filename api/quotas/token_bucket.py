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
    """Negative after more was charged than was left."""
    updated_at: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        self.left = self.limit

    def take(self, amount: float) -> bool:
        """Take an amount if so much is left, and return whether it was."""
        self.charge(0.0)
        if self.left < amount:
            return False
        self.left -= amount
        return True

    def charge(self, amount: float) -> None:
        """Take an amount that is spent already."""
        moment = monotonic()
        self.left = min(self.limit, self.left + self.rate * (moment - self.updated_at)) - amount
        self.updated_at = moment

    def seconds_to_wait(self) -> int:
        """Return the whole seconds until nothing is owed; 0 for now."""
        self.charge(0.0)
        return ceil(max(0.0, -self.left / self.rate))
