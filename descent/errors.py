"""What can go wrong on the way to the service; every message is written for the person who reads it."""

from models.answers import Problem


class DescentError(Exception):
    """Everything that this package raises on purpose."""


class Unreachable(DescentError):
    """Nothing answers at the service's address."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"Nothing answers at {url} ({reason}).\n"
            "Start the service with `descent up`, or name another one with DESCENT_URL."
        )
        self.url = url


class CutOff(DescentError):
    """The service hung up, or fell silent, while a file was sent to it."""

    def __init__(self, url: str, reason: str, sent: int, size: int) -> None:
        how_far = f"after {sent:,} of {size:,} bytes" if sent < size else f"when it had all {size:,} bytes"
        super().__init__(
            f"{url} stopped listening {how_far} ({reason}).\n"
            "The file may be larger than the service takes (its DESCENT_MAX_UPLOAD_BYTES), or the service was stopped "
            "meanwhile. What arrived in part was not kept: send it again."
        )


class Refused(DescentError):
    """The service answered with a problem; `problem` is all that it said."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(_told(problem))
        self.problem = problem


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
