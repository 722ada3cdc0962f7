"""The API of a test that breaks it: `uvicorn tests.chaos.entry_api:create_app --factory`."""

from api.app import create_app
from tests.chaos import commit_points, messages, mutants

mutants.apply()
commit_points.apply()
messages.apply()

__all__ = ["create_app"]
