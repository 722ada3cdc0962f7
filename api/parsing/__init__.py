"""From an uploaded file to rows of numbers: every format that is taken, and every reason why a file is not.

Nothing heavy is imported here: a child sets its limits first.
"""

from api.parsing.child import parse_in_child
from api.parsing.contract import Limits, Options, Parsed, Refused
from api.parsing.parse import parse

__all__ = ["Limits", "Options", "Parsed", "Refused", "parse", "parse_in_child"]
