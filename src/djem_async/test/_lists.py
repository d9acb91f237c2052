"""Asserting that lists and checks agree."""

from __future__ import annotations

from copy import copy
from textwrap import indent
from typing import TYPE_CHECKING, Any, Final

from .._asking import explained
from .._driving import run
from .._methods import dotted_name, find_query_forms
from ..shortcuts import get_objects_for_user

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
    from django.db.models import QuerySet

_FEW: Final = 3


def assert_lists_agree(
    perm: str, users: Iterable[AbstractBaseUser | AnonymousUser], queryset: QuerySet[Any]
) -> None:
    """Assert that lists have just the objects on which checks grant a permission.

    If an access method has a form in Python and a query form, this shows that they agree for these
    users and objects. A query form without the other decides checks and lists, so compare its list
    with the objects that you expect as well.

    Args:
        perm: The permission, ``app_label.codename``.
        users: The users. Copies of them are asked, which have no cached decisions.
        queryset: The objects.

    Raises:
        AssertionError: A list and a check disagree; the message explains the first such checks. Or
            the test proves nothing: there are no objects, no user is granted any of them, or each
            is granted all.
        NoQueryFormError: An access method for the permission has no query form.
        ImproperlyConfigured: There can be no lists, see
            `djem_async.shortcuts.get_objects_for_user`.
        SynchronousOnlyOperation: This thread runs an event loop.
    """
    __tracebackhide__ = True
    objects = list(queryset)
    if not objects:
        raise AssertionError("The queryset has no objects, so this proves nothing. Create some.")
    problems: list[str] = []
    counts: set[int] = set()
    for user in users:
        asked: Any = copy(user)
        granted = {obj.pk for obj in objects if asked.has_perm(perm, obj)}
        listed = {obj.pk for obj in get_objects_for_user(asked, perm, queryset)}
        counts.add(len(granted))
        for title, pks in (
            ("listed, but denied by a check", listed - granted),
            ("granted by a check, but not listed", granted - listed),
        ):
            rows = [obj for obj in objects if obj.pk in pks]
            if rows:
                names = ", ".join(f"{obj} ({obj.pk!r})" for obj in rows)
                trees = [indent(_explained(user, perm, obj), "    ") for obj in rows[:_FEW]]
                problems.append("\n".join([f"{user}: {title}: {names}", *trees]))
    if problems:
        model = queryset.model
        forms = [
            dotted_name(model, perm, each, is_list=True) for each in find_query_forms(model, perm)
        ]
        source = f" Lists come from {' and '.join(forms)}." if forms else ""
        raise AssertionError(
            "\n".join([f"The lists of {perm} disagree with checks.{source}", *problems])
        )
    for count, amount in ((0, "none"), (len(objects), "all")):
        if counts <= {count}:
            raise AssertionError(
                f"Each of the users has {perm} on {amount} of the {len(objects)} objects, so this"
                " proves nothing. Add users and objects that differ. (Do the users have the"
                " permission at the model level?)"
            )


def _explained(user: object, perm: str, obj: object) -> str:
    return str(run(explained(copy(user), perm, obj, is_quiet=True))[0])
