"""What can go wrong on the way to the service; every message is written for the person who reads it.

Exceptions keep what they were made of, and make their words of it: so they can be copied, and sent between processes.
"""

from models.answers import Problem


class DescentError(Exception):
    """Everything that this package raises on purpose."""


class Unreachable(DescentError):
    """Nothing answers at the service's address."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"Nothing answers at {self.url} ({self.reason}).\n"
            "Start the service with `descent up`, or name another one with DESCENT_URL."
        )


class CutOff(DescentError):
    """The service hung up, or fell silent, while a file was sent to it."""

    def __init__(self, url: str, reason: str, sent: int, size: int) -> None:
        super().__init__(url, reason, sent, size)
        self.url = url
        self.reason = reason
        self.sent = sent
        self.size = size

    def __str__(self) -> str:
        is_whole = self.sent == self.size
        when = f"when it had all {self.size:,} bytes" if is_whole else f"after {self.sent:,} of {self.size:,} bytes"
        return (
            f"{self.url} stopped listening {when} ({self.reason}).\n"
            "The file may be larger than the service takes (its DESCENT_MAX_UPLOAD_BYTES), or the service was stopped "
            "meanwhile. What arrived in part was not kept: send it again."
        )


class Refused(DescentError):
    """The service answered with a problem; `problem` is all that it said."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return _told(self.problem)


class TimedOut(DescentError):
    """Waiting took longer than its caller, or the client itself, allows."""


def _told(problem: Problem) -> str:
    lines = [f"  {error.pointer or '/'}: {error.detail}" for error in problem.errors]
    if [error.detail for error in problem.errors] != [problem.detail]:
        lines.insert(0, problem.detail or problem.title)
    else:
        # Of a file there is no place to point at.
        lines = [line.strip().removeprefix("/: ") for line in lines]
    remedy = (problem.model_extra or {}).get("remedy")
    return "\n".join([*lines, remedy] if isinstance(remedy, str) else lines)
