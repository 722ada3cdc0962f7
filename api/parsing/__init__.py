"""From an uploaded file to rows of numbers: every format that is taken, and every reason why a file is not.

Nothing large is imported here: a child process sets its limits first, and starts once an upload.
"""

from api.parsing.contract import Limits, Options, Parsed, Refused
from api.parsing.parse import parse

__all__ = ["Limits", "Options", "Parsed", "Refused", "parse"]
