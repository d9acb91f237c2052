"""Asserting that lists and checks agree."""

from __future__ import annotations

from copy import copy
from textwrap import indent
from typing import TYPE_CHECKING, Any

from .._asking import explained
from .._driving import run
from .._log_stack import leaving_no_logs
from ..shortcuts import get_objects_for_user

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
    from django.db.models import QuerySet


def assert_lists_agree(
    perm: str, users: Iterable[AbstractBaseUser | AnonymousUser], queryset: QuerySet[Any]
) -> None:
    """Assert that lists have just the objects on which checks grant a permission.

    Where an access method has a form in Python and a query form, this shows that the two agree, as
    far as the users and objects differ. A query form alone decides both, so compare its list with
    the objects that you expect as well.

    Args:
        perm: The permission, ``app_label.codename``.
        users: The users. Copies of them are asked, which remember no decisions.
        queryset: The objects.

    Raises:
        AssertionError: A list and a check disagree; the message explains each such check. Or the
            test proves nothing: no user is granted any of the objects, or each is granted all.
    """
    objects = list(queryset)
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
                trees = [indent(_explained(user, perm, obj), "    ") for obj in rows]
                problems.append("\n".join([f"{user}: {title}: {names}", *trees]))
    if problems:
        raise AssertionError(f"The lists of {perm} disagree with checks.\n" + "\n".join(problems))
    for count, amount in ((0, "none"), (len(objects), "all")):
        if counts <= {count}:
            raise AssertionError(
                f"Each of the users has {perm} on {amount} of the {len(objects)} objects, so this"
                " proves nothing. Add users and objects that differ. (Do the users have the"
                " permission at the model level?)"
            )


def _explained(user: object, perm: str, obj: object) -> str:
    with leaving_no_logs():
        explanation, _ = run(explained(copy(user), perm, obj, is_quiet=True))
    return str(explanation)
