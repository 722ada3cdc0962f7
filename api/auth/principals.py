"""Who asks: for whom, with which key, in which request."""

from dataclasses import dataclass, replace

from models.access import ADMIN, Scope


@dataclass(frozen=True)
class Principal:
    """Whoever holds a key."""

    owner: str
    scope: Scope
    key_id: str
    request_id: str = ""

    @property
    def is_admin(self) -> bool:
        return self.scope is Scope.ADMIN

    @property
    def sees(self) -> str | None:
        """Whose rows; None: everybody's."""
        return None if self.is_admin else self.owner

    def within(self, request_id: str) -> "Principal":
        return replace(self, request_id=request_id)


ANONYMOUS = Principal("", Scope.READ, "")
"""Asks without a key, where that is allowed; owns nothing."""
SERVICE = Principal(ADMIN, Scope.ADMIN, "service")
"""What the service does by itself."""
