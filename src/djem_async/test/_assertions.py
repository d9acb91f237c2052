"""Asserting how a check comes out."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, TypeAlias

from .._asking import explained
from .._backends import configured_backends
from .._driving import arun, run
from .._flow import Call
from .._look_up import NOT_GIVEN
from .._methods import unknown
from ..explain import Reason

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

    from .._flow import Flow

    User: TypeAlias = AbstractBaseUser | AnonymousUser


def assert_granted(
    user: User, perm: str, obj: object = NOT_GIVEN, *, reason: Reason | str | None = None
) -> None:
    """Assert that a user has a permission.

    A copy of the user is asked, for which nothing is cached.

    Args:
        user: The user.
        perm: The permission, ``app_label.codename``.
        obj: The object. Leave it out to check the model level.
        reason: The step that has to decide, if that matters, such as ``"user_method"``.

    Raises:
        AssertionError: The permission is denied, the check raises an exception, or another step
            decides. The message explains the check.
        ValueError: There is no such reason, or no such permission.
    """
    __tracebackhide__ = True
    run(_assert(True, user, perm, obj, reason))


async def aassert_granted(
    user: User, perm: str, obj: object = NOT_GIVEN, *, reason: Reason | str | None = None
) -> None:
    """Assert that a user has a permission, see `assert_granted`."""
    __tracebackhide__ = True
    await arun(_assert(True, user, perm, obj, reason))


def assert_denied(
    user: User, perm: str, obj: object = NOT_GIVEN, *, reason: Reason | str | None = None
) -> None:
    """Assert that a user doesn't have a permission.

    A copy of the user is asked, for which nothing is cached.

    Args:
        user: The user.
        perm: The permission, ``app_label.codename``.
        obj: The object. Leave it out to check the model level.
        reason: The step that has to decide, if that matters, such as ``"model_level"``.

    Raises:
        AssertionError: The permission is granted, another step decides, or the check raises an
            exception, unless ``reason`` is ``"error"``. The message explains the check.
        ValueError: There is no such reason, or no such permission.
    """
    __tracebackhide__ = True
    run(_assert(False, user, perm, obj, reason))


async def aassert_denied(
    user: User, perm: str, obj: object = NOT_GIVEN, *, reason: Reason | str | None = None
) -> None:
    """Assert that a user doesn't have a permission, see `assert_denied`."""
    __tracebackhide__ = True
    await arun(_assert(False, user, perm, obj, reason))


def _assert(
    granted: bool, user: User, perm: str, obj: object, reason: Reason | str | None
) -> Flow[None]:
    __tracebackhide__ = True
    wanted = None if reason is None else Reason(reason)
    yield Call(_refuse_unknown, None, (perm,))
    # A copy, so that nothing that is cached for the user decides the test, or changes with it.
    asked = copy(user)
    explanation, error = yield from explained(asked, perm, obj, is_quiet=True, is_anew=True)
    if error is not None and wanted is not Reason.ERROR:
        problem = "The check raised an exception"
    elif explanation.granted is not granted:
        problem = "This should be granted" if granted else "This should be denied"
    elif wanted is not None and explanation.reason is not wanted:
        problem = f"The reason should be {wanted}, not {explanation.reason}"
    else:
        return
    text = f"{problem}:\n\n{explanation}"
    if error is not None:
        text = f"{text}\n\n{type(error).__name__}: {error}"
    raise AssertionError(text) from error


def _refuse_unknown(perm: object) -> None:
    # Another backend may know permissions of its own.
    is_ours = not any(each.decides_by_itself for each in configured_backends().all)
    problem = unknown(perm) if is_ours and isinstance(perm, str) else None
    if problem is not None:
        raise ValueError(problem)
