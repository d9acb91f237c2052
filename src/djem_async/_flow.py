"""What a decision is made of: a generator that yields the calls it needs made.

A plain generator cannot await and cannot block on purpose, so the rules written in one serve
the sync and the async API alike. `djem_async._driving` makes the calls.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any, TypeAlias, TypeVar

from .exceptions import NotADecisionError

T = TypeVar("T")


class Call:
    """A call to be made for a flow, in the sync or in the async form.

    Args:
        function: The sync form, or None if there is only an async one. It may turn out to be
            ``async def``.
        async_function: The async form, or None if there is only a sync one.
        args: The positional arguments, the same for both forms.
        blocking: Whether the sync form may do I/O, so that it must not run on an event loop.
    """

    __slots__ = ("args", "async_function", "blocking", "function")

    def __init__(
        self,
        function: Callable[..., object] | None,
        async_function: Callable[..., Awaitable[object]] | None = None,
        args: tuple[object, ...] = (),
        *,
        blocking: bool = True,
    ) -> None:
        self.function = function
        self.async_function = async_function
        self.args = args
        self.blocking = blocking

    @property
    def label(self) -> str:
        """The name of what is called, for error messages."""
        called = self.async_function if self.function is None else self.function
        return getattr(called, "__qualname__", None) or repr(called)


Flow: TypeAlias = Generator[Call, Any, T]


def truth(answer: object, label: str) -> Flow[bool]:
    """Turn what a method returned into a decision.

    Args:
        answer: What it returned.
        label: The name of the method.

    Raises:
        NotADecisionError: It returned an iterator, or something to call, which is truthy but
            never an answer.
    """
    if answer is None or isinstance(answer, bool):
        return bool(answer)
    if callable(answer) or isinstance(answer, (Iterator, AsyncIterator)):
        raise NotADecisionError(
            f"{label} returned {answer!r}, which cannot be a decision. Return True or False"
            " (is there a `yield` in the method, or a function that is not called?)."
        )
    # The truth value of a queryset is a query, so it is asked for where queries may be made.
    return bool((yield Call(bool, None, (answer,))))
