"""Descent's clients: submit training jobs, watch them, compare them."""

from descent.asynchronous.client import AsyncClient
from descent.client import Client
from descent.errors import DescentError, Refused, Unreachable
from models.spec.job import JobSpec

__all__ = ["AsyncClient", "Client", "DescentError", "JobSpec", "Refused", "Unreachable"]
