"""Principals: the owner, scope and key that a request acts with."""

from dataclasses import dataclass, field, replace

from models.access import ADMIN, Scope


@dataclass(frozen=True)
class Principal:
    """The identity behind a request."""

    owner: str
    scope: Scope | None
    """None for a request without a key."""
    key_id: str
    request_id: str = ""
    secret_digest: str = field(default="", repr=False)
    """SHA-256 of the secret in the request: distinguishes a key from the same key before a rotation."""

    @property
    def is_anonymous(self) -> bool:
        return self.scope is None

    @property
    def is_admin(self) -> bool:
        return self.scope is Scope.ADMIN

    @property
    def sees(self) -> str | None:
        """The owner whose rows are visible; None for the rows of all owners."""
        return None if self.is_admin else self.owner

    def has(self, scope: Scope) -> bool:
        """Return whether the key includes a scope."""
        return self.scope is not None and self.scope.includes(scope)

    def within(self, request_id: str) -> "Principal":
        return replace(self, request_id=request_id)


ANONYMOUS = Principal("", None, "")
"""A request without a key; it owns nothing."""
SERVICE = Principal(ADMIN, Scope.ADMIN, "service")
"""The service itself, for background work."""
