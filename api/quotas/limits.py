"""What one owner may have at once: runs in the queue, bytes of uploads. Admins may have all there is."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.auth.principals import Principal
from api.errors import OVER_QUOTA, Refusal
from models import shares
from models.settings import Settings
from models.status import RunStatus
from models.tables import Dataset

QUEUE_RETRY_SECONDS = 60


def demand_room_in_queue(session: Session, principal: Principal, settings: Settings) -> None:
    """Let pass what the session has queued for an owner.

    Raises:
        Refusal: if more runs of theirs wait now than may; nothing of the session is to be kept then.

    """
    if principal.is_admin:
        return
    session.flush()
    most = settings.max_queued_runs
    # Held, so that of two requests at once the second counts what the first has queued.
    shares.hold(session, principal.owner)
    if shares.count_runs(session, principal.owner, frozenset({RunStatus.QUEUED}), most=most + 1) > most:
        detail = f"then more than {most:,} of your runs would wait: nothing was queued. Let some be trained first"
        raise Refusal(OVER_QUOTA, detail, headers={"Retry-After": str(QUEUE_RETRY_SECONDS)})


def demand_room_in_storage(session: Session, principal: Principal, settings: Settings, size: int) -> None:
    """Let an upload of so many bytes pass.

    Raises:
        Refusal: if the owner's uploads would take more bytes than they may.

    """
    if principal.is_admin:
        return
    shares.enrol(session, principal.owner)
    shares.hold(session, principal.owner)
    mine = select(func.coalesce(func.sum(Dataset.size), 0)).where(Dataset.owner == principal.owner)
    taken, most = session.scalars(mine).one(), settings.max_stored_bytes
    if taken + size > most:
        detail = f"your uploads take {taken:,} bytes, and with these {size:,} more than {most:,}: delete some first"
        raise Refusal(OVER_QUOTA, detail, headers={"Retry-After": str(QUEUE_RETRY_SECONDS)})
