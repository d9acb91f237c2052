"""Explanations of permission checks: the decision, the step that made it, and why."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NoReturn

from ._entries import Nested

__all__ = ["Explanation", "Reason"]


class Reason(StrEnum):
    """The step of a check that decided it."""

    MODEL_LEVEL = "model_level"
    """Whether the user has the permission at the model level."""
    INACTIVE = "inactive"
    """The user isn't active, or hasn't signed in, and so has no permission on an object."""
    SUPERUSER = "superuser"
    """The user is an active superuser, who has the permission implicitly."""
    USER_METHOD = "user_method"
    """An access method that is asked about the user."""
    GROUP_METHOD = "group_method"
    """An access method that is asked about the groups of the user."""
    NO_METHOD = "no_method"
    """No access method decides about the permission on the object."""
    OTHER_BACKEND = "other_backend"
    """An authentication backend of another package, or the user model itself."""
    VETO = "veto"
    """A backend raised `PermissionDenied`."""
    ERROR = "error"
    """The check raised an exception."""

    @property
    def is_access_method(self) -> bool:
        """Whether an access method decided."""
        return self in {Reason.USER_METHOD, Reason.GROUP_METHOD}


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why a check of a permission came out as it did.

    `djem_async.models.OLPMixin.explain_perm` returns it, and receivers of
    `djem_async.signals.permission_checked` get it. The `PermissionDenied` that a view raises has it
    as the attribute ``explanation``. ``str(explanation)`` is a tree with nested checks as branches.
    An explanation has no truth value: read `granted`.

    Attributes:
        granted: Whether the permission is granted.
        perm: The permission.
        user: The primary key of the user.
        object: The primary key of the object, None for the model level and for lists.
        model: The label of the object's model, such as ``inventory.Product``.
        reason: The step that decided.
        decided_by: The dotted name of what decided, such as an access method or a backend. If
            ``error`` is set, the access method that raised it.
        lines: The reason in words: what access methods logged, or a sentence of the library.
        cached: Whether the decision on the object was cached.
        nested: The explanations of the checks that access methods made.
        error: The name of the type of the exception that the check raised, or None.
    """

    granted: bool
    perm: str
    user: Any
    object: Any = None
    model: str | None = None
    reason: Reason
    decided_by: str | None = None
    lines: tuple[str, ...] = ()
    cached: bool = False
    nested: tuple[Explanation, ...] = ()
    error: str | None = None

    def __bool__(self) -> NoReturn:
        """Refuse to be taken for the decision.

        Raises:
            TypeError: Always.
        """
        raise TypeError("An explanation has no truth value. Read its attribute `granted`.")

    def __str__(self) -> str:
        """Write a tree, with nested checks as branches."""
        return "\n".join(_tree(self))

    @property
    def messages(self) -> tuple[str, ...]:
        """What the access methods that decided say about it, which users may read.

        The other lines are for developers: sentences of the library, which name backends for
        example, and lines of nested checks.
        """
        if not self.reason.is_access_method:
            return ()
        return tuple(str(line) for line in self.lines if not isinstance(line, Nested))

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON-serializable values.

        Keys of other types than numbers are written as text.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("user", "object"):
            if not isinstance(values[name], int | float | str | None):
                values[name] = str(values[name])
        nested = [each.as_dict() for each in self.nested]
        return {**values, "reason": str(self.reason), "lines": [*self.lines], "nested": nested}


def escaped(text: str, but: str = "") -> str:
    """Escape control characters, so that nothing that was checked forges a line or a command."""
    return "".join(
        char if char.isprintable() or char in but else ascii(char)[1:-1] for char in text
    )


def _tree(explanation: Explanation) -> list[str]:
    of = explanation
    key = "" if of.object is None else f" {of.object}"
    on = "" if of.model is None else f" on {of.model}{key}"
    result = "granted" if of.granted else "denied"
    lines = [f"{of.perm}{on}, user {of.user}: {result}"]
    cached = " (cached)" if of.cached else ""
    by = f": {of.decided_by}" if of.decided_by else ""
    details = [f"{of.reason}{by}{cached}"]
    details += [f"| {part}" for line in of.lines for part in line.strip("\n").split("\n")]
    if of.error is not None:
        details.append(f"raised {of.error}")
    lines += [f"    {detail}" for detail in details]
    for number, each in enumerate(of.nested, 1):
        is_last = number == len(of.nested)
        first, *rest = _tree(each)
        lines.append(f"    {'└──' if is_last else '├──'} {first}")
        lines += [f"    {'   ' if is_last else '│  '} {line}" for line in rest]
    return lines
