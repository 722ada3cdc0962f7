"""What one owner may have at once: queued runs and bytes in storage. Admins have no such quotas."""

from sqlalchemy.orm import Session

from api.auth.principals import Principal
from api.errors import OVER_QUOTA, Refusal
from models import shares
from models.settings import Settings
from models.status import RunStatus
from models.storage_usage import storage_usage

QUOTA_RETRY_SECONDS = 60


def check_run_quotas(session: Session, principal: Principal, settings: Settings) -> None:
    """Check what the session has queued for an owner; where it is refused, the session must be rolled back.

    Raises:
        Refusal: if more of the owner's runs wait than may, or if the files that their unfinished runs are expected to
            leave would exceed the storage quota.

    """
    if principal.is_admin:
        return
    session.flush()
    # Locked, so that of two requests at once the second counts what the first has queued.
    shares.hold(session, principal.owner)
    check_queue(session, principal, settings, 0)
    usage = storage_usage(session, principal.owner)
    if usage.total > settings.max_stored_bytes:
        raise over_quota(
            f"your files take {usage.stored:,} bytes in storage, and your unfinished runs with these are expected to "
            f"add {usage.expected:,}, which is more than the quota of {settings.max_stored_bytes:,}: nothing was "
            "queued. Delete jobs or data sets first"
        )


def check_queue(session: Session, principal: Principal, settings: Settings, runs: int) -> None:
    """Check that an owner may have so many more runs in the queue.

    Raises:
        Refusal: if they may not.

    """
    most = settings.max_queued_runs
    queued = shares.count_runs(session, principal.owner, frozenset({RunStatus.QUEUED}), most=most + 1)
    if not principal.is_admin and queued + runs > most:
        raise over_quota(
            f"an owner may have at most {most:,} queued runs: nothing was queued. Wait until some have been trained"
        )


def storage_left(session: Session, principal: Principal, settings: Settings) -> int | None:
    """Return the bytes that an owner may still upload, or None for admins, who have no storage quota.

    Raises:
        Refusal: if there are none left.

    """
    if principal.is_admin:
        return None
    left = settings.max_stored_bytes - storage_usage(session, principal.owner).total
    if left <= 0:
        raise over_quota(
            f"your files, with those that your unfinished runs are expected to leave, fill the storage quota of "
            f"{settings.max_stored_bytes:,} bytes: delete jobs or data sets first"
        )
    return left


def check_storage_quota(session: Session, principal: Principal, settings: Settings, size: int) -> None:
    """Check that an owner may store so many more bytes.

    Raises:
        Refusal: if they may not.

    """
    left = storage_left(session, principal, settings)
    if left is not None and size > left:
        raise over_quota(
            f"this takes {size:,} bytes in storage, and {left:,} are left of your quota of "
            f"{settings.max_stored_bytes:,}: delete jobs or data sets first"
        )


def over_quota(detail: str) -> Refusal:
    """Return the refusal of a request that exceeds a quota."""
    return Refusal(OVER_QUOTA, detail, headers={"Retry-After": str(QUOTA_RETRY_SECONDS)})
