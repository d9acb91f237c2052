"""The errors are Django's or Python's own, so that code that knows those catches them."""

import pytest
from django.core.exceptions import SynchronousOnlyOperation

from djem_async.exceptions import AsyncMethodError, NotADecisionError, PermissionRecursionError


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (PermissionRecursionError, RecursionError),
        (AsyncMethodError, SynchronousOnlyOperation),
        (NotADecisionError, TypeError),
    ],
)
def test_an_error_is_a_kind_of_a_known_one(error, known):
    assert issubclass(error, known)
    assert str(error("what to do")) == "what to do"
