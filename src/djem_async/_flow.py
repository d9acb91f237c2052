"""Flows: generators that make a decision and yield the calls that it needs.

A flow neither awaits nor blocks, so the same rules serve the sync and the async API.
`djem_async._driving` makes the calls.
"""

from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, TypeAlias, TypeVar, cast

from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import Model, QuerySet

from .exceptions import NotADecisionError

T = TypeVar("T")
Scope: TypeAlias = Callable[[], AbstractContextManager[object]]


class Call:
    """A call to be made for a flow, in the sync or in the async form.

    Args:
        function: The sync form, or None if there is only an async one. It may turn out to be
            ``async def``.
        async_function: The async form, or None if there is only a sync one.
        args: The positional arguments, the same for both forms.
        blocking: Whether the sync form may do I/O, so that it must not run on an event loop.
        scope: Makes a context manager in which the call runs.
    """

    __slots__ = ("args", "async_function", "blocking", "function", "scope")

    def __init__(
        self,
        function: Callable[..., object] | None,
        async_function: Callable[..., Awaitable[object]] | None = None,
        args: tuple[object, ...] = (),
        *,
        blocking: bool = True,
        scope: Scope = nullcontext,
    ) -> None:
        self.function = function
        self.async_function = async_function
        self.args = args
        self.blocking = blocking
        self.scope = scope

    @property
    def label(self) -> str:
        """The name of what is called, for error messages."""
        called = self.async_function if self.function is None else self.function
        return getattr(called, "__qualname__", None) or repr(called)


Flow: TypeAlias = Generator[Call, Any, T]


def where_allowed(function: Callable[..., T], *args: object) -> Flow[T]:
    """Call a function that rarely makes a query: in place, or again where queries are allowed."""
    try:
        return function(*args)
    except SynchronousOnlyOperation:
        found: T = yield Call(function, None, args)
        return found


class Each(Call):
    """Flows to run to their ends, concurrently while they wait.

    Args:
        flows: The flows.
    """

    __slots__ = ("flows",)

    def __init__(self, flows: Iterable[Flow[object]]) -> None:
        super().__init__(None)
        self.flows = flows


def decision_of(answer: object, label: str) -> Flow[bool]:
    """Turn what a method returned into a decision.

    Only listed types count as a grant, because most objects are truthy: a `Q`, a response, a mock.

    Raises:
        NotADecisionError: It is truthy, but isn't True, a finite number, a queryset or a model
            instance.
    """
    # By its type, because an object may lie about its class.
    if answer is None or type(answer) is bool:
        return bool(answer)
    if answer is NotImplemented or type(answer) in (int, float, Decimal):
        is_truthy = answer is NotImplemented or bool(answer)
    else:
        # The truth value of a queryset makes a query, so evaluate it where queries are allowed.
        is_truthy = yield Call(bool, None, (answer,))
    if is_truthy and not _is_grant(answer):
        raise NotADecisionError(
            f"{label} returned {answer!r}, which isn't a decision. Return a `bool`. (Did you"
            " forget to filter by a `Q`, to call a function, or to raise an exception?)"
        )
    return bool(is_truthy)


def _is_grant(answer: Any) -> bool:
    """Tell whether a truthy object may be meant as a grant."""
    kind = cast("Any", type(answer))
    if issubclass(kind, Enum):
        return False
    if issubclass(kind, float):
        return isfinite(answer)
    if issubclass(kind, Decimal):
        return bool(answer.is_finite())
    return issubclass(kind, (int, QuerySet, Model))
