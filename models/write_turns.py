"""Exclusive access to a database with one writer, granted to the owners in turn."""

from collections import OrderedDict, deque
from threading import Lock


class WriteTurns:
    """Serializes the write transactions of a process, round-robin over owners and first-in, first-out within one.

    SQLite has one writer at a time, and those that wait for it poll: an owner with several writers in a row can keep
    others waiting until their timeout. Here an owner's next write waits for the transaction in progress, and then for
    at most one of every other owner.
    """

    def __init__(self) -> None:
        self._mutex = Lock()
        self._is_held = False
        self._waiting: OrderedDict[str | None, deque[Lock]] = OrderedDict()
        """Per owner, a lock for each waiting writer; it is released when the writer may go on."""

    def acquire(self, owner: str | None, timeout: float) -> bool:
        """Wait for exclusive access, and return whether it was granted within `timeout` seconds."""
        with self._mutex:
            if not self._is_held:
                self._is_held = True
                return True
            granted = Lock()
            granted.acquire()
            self._waiting.setdefault(owner, deque()).append(granted)
        try:
            if granted.acquire(timeout=timeout):
                return True
        except BaseException:
            # A signal handler may raise in the wait, whose result is then unknown.
            if not self._withdraw(owner, granted):
                self.release()
            raise
        return not self._withdraw(owner, granted)

    def release(self) -> None:
        """Release the access, or pass it to the next writer."""
        with self._mutex:
            if not self._waiting:
                self._is_held = False
                return
            owner, writers = self._waiting.popitem(last=False)
            writers.popleft().release()
            if writers:
                self._waiting[owner] = writers

    def _withdraw(self, owner: str | None, granted: Lock) -> bool:
        """Remove a waiting writer; return False if it has been granted the access in the meantime."""
        with self._mutex:
            writers = self._waiting.get(owner, ())
            if granted not in writers:
                return False
            self._waiting[owner].remove(granted)
            if not self._waiting[owner]:
                del self._waiting[owner]
            return True
