"""Parse an uploaded file of any supported format into rows of numbers, or say why it cannot be parsed.

No large package is imported here: a child process imports this for each upload, and sets its limits first.
"""

from api.parsing.contract import Limits, Options, Parsed, Refused
from api.parsing.parse import parse

__all__ = ["Limits", "Options", "Parsed", "Refused", "parse"]
