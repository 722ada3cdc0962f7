"""Some hundred requests made from the OpenAPI document; `make fuzz` sends ten thousand."""

import pytest

from models.access import Scope
from tests.fuzz.__main__ import fuzz, service_with_something_to_find


@pytest.mark.slow
def test_every_answer_is_one_that_the_document_declares() -> None:
    with service_with_something_to_find() as (url, keys):
        assert fuzz(url, 3, key=keys[Scope.ADMIN], phases="examples,fuzzing") == 0
