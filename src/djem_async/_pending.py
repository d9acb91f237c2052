"""Awaitable checks without a truth value."""

from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from inspect import CORO_CREATED, currentframe, getcoroutinestate, iscoroutine
from typing import Any, Generic, NoReturn, TypeVar, cast

from asgiref.sync import markcoroutinefunction

T = TypeVar("T")
AsyncFunction = TypeVar("AsyncFunction", bound=Callable[..., Coroutine[Any, Any, Any]])


class Pending(Coroutine[Any, Any, T], Generic[T]):
    """A coroutine whose truth value is an error.

    A plain coroutine is truthy, so ``if user.ahas_perm(...):`` without ``await`` would grant. All
    that runs coroutines accepts this class as well: ``await``, ``asyncio.gather``,
    ``create_task``, ``wait_for``, ``TaskGroup``, ``async_to_sync``.

    Args:
        coroutine: The coroutine that finds the answer.
    """

    __slots__ = ("__weakref__", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine

    def __bool__(self) -> bool:
        """Refuse to be used as an answer.

        Raises:
            TypeError: Always, unless asyncio checks whether a task has a coroutine.
        """
        frame = currentframe()
        caller = None if frame is None else frame.f_back
        if caller is not None and caller.f_globals.get("__name__") == "asyncio.base_tasks":
            return True
        raise self._refusal()

    def __eq__(self, other: object) -> bool:
        """Compare by identity, but refuse to be compared with an answer.

        Raises:
            TypeError: ``other`` isn't a check. ``!= False`` would be true and grant.
        """
        if not isinstance(other, Pending):
            raise self._refusal()
        return self is other

    __hash__ = object.__hash__

    def _refusal(self) -> TypeError:
        name = getattr(self._coroutine, "__qualname__", "The check")
        if iscoroutine(self._coroutine) and getcoroutinestate(self._coroutine) == CORO_CREATED:
            self._coroutine.close()  # don't also warn that it was never awaited
        return TypeError(f"{name}() was not awaited. Write `await` in front of it.")

    def __await__(self) -> Generator[Any, Any, T]:
        """Find the answer."""
        return self._coroutine.__await__()

    def send(self, value: Any, /) -> Any:
        """Pass a value to the coroutine, see `collections.abc.Coroutine`."""
        return self._coroutine.send(value)

    def throw(self, typ: Any, /, *rest: Any) -> Any:
        """Raise an exception in the coroutine, see `collections.abc.Coroutine`."""
        try:
            return self._coroutine.throw(typ, *rest)
        finally:
            # The traceback of the exception refers to this frame. Avoid a cycle.
            del typ, rest

    def close(self) -> None:
        """End the coroutine."""
        self._coroutine.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled, as a coroutine does.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "A check that was not awaited cannot be copied. Write `await` in front of it."
        )

    def __getattr__(self, name: str) -> Any:
        # `__name__`, `__qualname__` and the `cr_` attributes, for asyncio's debugging aids.
        return getattr(self._coroutine, name)


def pending(function: AsyncFunction) -> AsyncFunction:
    """Make an async function return awaitables without a truth value."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Pending[Any]:
        return Pending(function(*args, **kwargs))

    # It isn't an `async def`, but has to be recognized as a coroutine function.
    return cast("AsyncFunction", markcoroutinefunction(wrapper))


def close(*awaitables: Any) -> None:
    """Close awaitables that nobody will await, so that they don't cause warnings."""
    for each in awaitables:
        function = getattr(each, "close", None)
        if function is not None:
            function()
