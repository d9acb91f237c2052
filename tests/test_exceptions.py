"""The errors are Django's or Python's own, so that code that knows those catches them."""

from django.core.exceptions import SynchronousOnlyOperation

from djem_async.exceptions import AsyncMethodError, NotADecisionError, PermissionRecursionError


def test_errors_are_kinds_of_known_ones():
    assert issubclass(PermissionRecursionError, RecursionError)
    assert issubclass(AsyncMethodError, SynchronousOnlyOperation)
    assert issubclass(NotADecisionError, TypeError)
