"""Descent's client: submit training jobs, watch them, compare them."""

from descent.client import Client
from descent.errors import DescentError, Refused, Unreachable
from models.spec.job import JobSpec

__all__ = ["Client", "DescentError", "JobSpec", "Refused", "Unreachable"]
