"""The checks that are running in this context, from the outermost to the innermost."""

import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self, TypeVar

from django.db.models import Model

from ._cache import Generation, PermissionCache, object_key, permission_cache
from .exceptions import PermissionRecursionError

T = TypeVar("T")

# All locks of the library are re-entrant: a signal handler or a finalizer may make a check, or
# clear, wherever this thread is.
_counting = threading.RLock()
innermost: ContextVar["Running | None"] = ContextVar("djem_async_innermost_check", default=None)


class Running:
    """A check from now on to its end, which is that of the block if it is a context manager.

    It holds the generation of the user's permission cache that was current when the check
    began, and refuses to begin inside itself. When it has ended, it keeps neither the user nor
    the object alive. It has to be ended, once: where many checks begin, by `end` in a `finally`,
    because Python takes twice as long for a `with`.

    Args:
        user: The user.
        layer: Which part of the check this is; each has its own place in the chain.
        perm: The permission, or None for what is not about one.
        obj: The object, or None for a model-level check.

    Raises:
        PermissionRecursionError: It is running already.
    """

    __slots__ = (
        "_cache",
        "_held",
        "_is_open",
        "_layer",
        "_obj",
        "_outer",
        "_perm",
        "_token",
        "_user",
        "generation",
    )

    generation: Generation

    def __init__(
        self, user: object, layer: str, perm: str | None = None, obj: object = None
    ) -> None:
        self._cache: PermissionCache = permission_cache(user)
        self._user: object = user
        self._layer = layer
        self._perm = perm
        self._obj: object = obj
        self._outer: Running | None = None
        self._is_open = True
        self._held = 0
        if innermost.get() is not None:
            self._outer = Running.current()
            if perm is not None:
                self._refuse_recursion()
        self.generation = self._cache.generation
        self._token: Token[Running | None] = innermost.set(self)

    @property
    def is_running(self) -> bool:
        """Whether the check has not ended, nor all the code that it has started in a thread."""
        return self._is_open or self._held > 0

    def end(self) -> None:
        """End the check."""
        # In this order: a thread that lets go meanwhile finds it closed, or is found holding it.
        self._is_open = False
        if self._held == 0:
            self._user = self._obj = None
        token = self._token
        del self._token  # it keeps a whole context alive
        try:
            innermost.reset(token)
        except ValueError:
            # Begun in a thread and ended on the event loop, or a coroutine that was dropped and is
            # closed wherever the garbage collector runs.
            if innermost.get() is self:
                innermost.set(self._outer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def __str__(self) -> str:
        if self._obj is None:
            return f"{self._perm}"
        return f"{self._perm} on {self._obj.__class__.__name__} {getattr(self._obj, 'pk', None)!r}"

    def _is_same_as(self, other: "Running") -> bool:
        return (
            self._layer == other._layer
            and self._perm == other._perm
            and _is_same(self._user, other._user)
            and _is_same(self._obj, other._obj)
        )

    def _refuse_recursion(self) -> None:
        chain: list[Running] = []
        outer = self._outer
        while outer is not None:
            if outer.is_running and outer._perm is not None:
                chain.append(outer)
                if self._is_same_as(outer):
                    raise self._recursion_error(chain)
            outer = outer._outer

    def _recursion_error(self, chain: "list[Running]") -> PermissionRecursionError:
        titles = [str(self)]
        for outer in chain:
            # The layers of one check have one title.
            if titles[-1] != str(outer) or (len(titles) == 1 and outer is chain[-1]):
                titles.append(str(outer))
        return PermissionRecursionError(
            f"The check of {self} entered itself: {' -> '.join(reversed(titles))}."
            " An access method must not check what it is deciding."
        )

    @staticmethod
    def current() -> "Running | None":
        """Return the innermost check that is running in this context."""
        # A context may have a check that has ended: that of a task which the check has started.
        running = innermost.get()
        while running is not None and not running.is_running:
            running = running._outer
        return running

    @staticmethod
    def hold(running: "Running | None", function: Callable[..., T], *args: object) -> T:
        """Call a function for a check, which goes on running until that returns.

        A thread cannot be stopped: when a check is cancelled, the function that it has called in
        a thread runs on, and has to keep to the generation that the check began with.

        Args:
            running: The check, None if the call is for none.
            function: The function.
            *args: The arguments.
        """
        if running is None:
            return function(*args)
        with _counting:
            running._held += 1
        try:
            return function(*args)
        finally:
            with _counting:
                running._held -= 1
                if not running.is_running:
                    running._user = running._obj = None

    @staticmethod
    def generation_for(cache: PermissionCache) -> Generation:
        """Return the generation that code in this context has to use.

        Args:
            cache: The permission cache of a user.

        Returns:
            That of the innermost running check of the user, else the current one.
        """
        running = innermost.get()
        while running is not None:
            if running._cache is cache and running.is_running:
                return running.generation
            running = running._outer
        return cache.generation


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether two instances are the same question, as instances of the same row are."""
    if one is other:
        return True
    if not (issubclass(type(one), Model) and issubclass(type(other), Model)):
        return False
    key = object_key(one)
    return key is not None and key == object_key(other)
