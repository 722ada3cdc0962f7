"""Secrets of keys: `dk_<id>_<secret>`, of which the id finds the row and a digest of all of it is stored.

A secret has 256 random bits: nobody guesses it, so one round of SHA-256 keeps it as well as a slow hash would.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection

_KEY = re.compile(r"dk_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_ADMIN_KEY = re.compile(r"[A-Za-z0-9_-]{32,200}")
_DIGEST_OF_NOTHING = hashlib.sha256(b"").hexdigest()
"""What is compared where there is nothing to compare with, so that a miss takes as long."""


def new_key(key_id: str) -> str:
    """A key with a fresh secret."""
    return f"dk_{key_id}_{secrets.token_urlsafe(32)}"


def new_key_id() -> str:
    return secrets.token_hex(8)


def id_in(key: str) -> str | None:
    """The id of a key; None of what cannot be one."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None


def is_strong(admin_key: str) -> bool:
    """Whether the key of the settings is long enough to be one, and fits into a header."""
    return _ADMIN_KEY.fullmatch(admin_key) is not None


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def is_one_of(digest: str, known: Collection[str]) -> bool:
    """Compare in a time that does not tell how much of it fits."""
    same = [hmac.compare_digest(digest, one) for one in known or (_DIGEST_OF_NOTHING,)]
    return bool(known) and any(same)
