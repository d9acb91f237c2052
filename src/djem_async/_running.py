"""The checks that are running in this context, from the outermost to the innermost."""

import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self, TypeVar

from django.db.models import Model

from ._cache import Generation, PermissionCache, object_key, permission_cache
from .exceptions import PermissionRecursionError

T = TypeVar("T")

_counting = threading.Lock()
innermost: ContextVar["Running | None"] = ContextVar("djem_async_innermost_check", default=None)


class Running:
    """A check from its beginning to its end, as a context manager.

    It holds the generation of the user's permission cache that was current when the check
    began, and refuses to begin inside itself. It keeps neither the user nor the object alive.

    Args:
        user: The user.
        layer: Which part of the check this is; each has its own place in the chain.
        perm: The permission, or None for what is not about one.
        obj: The object, or None for a model-level check.
    """

    __slots__ = (
        "_cache",
        "_held",
        "_is_open",
        "_key",
        "_outer",
        "_subject",
        "_token",
        "generation",
    )

    generation: Generation

    def __init__(
        self, user: object, layer: str, perm: str | None = None, obj: object = None
    ) -> None:
        self._cache = permission_cache(user)
        self._key = None if perm is None else (layer, perm, _identity(user), _identity(obj))
        self._subject = (perm, None if obj is None else obj.__class__, getattr(obj, "pk", None))
        self._outer: Running | None = None
        self._token: Token[Running | None] | None = None
        self._is_open = False
        self._held = 0

    @property
    def is_running(self) -> bool:
        """Whether the check has not ended, nor all the code that it has started in a thread."""
        return self._is_open or self._held > 0

    def __enter__(self) -> Self:
        self._outer = Running._current()
        if self._key is not None:
            self._refuse_recursion()
        self.generation = self._cache.generation
        self._is_open = True
        self._token = innermost.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        token, self._token = self._token, None
        if token is not None:
            try:
                innermost.reset(token)
            except ValueError:
                # A coroutine that was dropped is closed wherever the garbage collector runs.
                return

    def __str__(self) -> str:
        perm, model, pk = self._subject
        return f"{perm}" if model is None else f"{perm} on {model.__name__} {pk!r}"

    def _refuse_recursion(self) -> None:
        titles = [str(self)]
        outer = self._outer
        while outer is not None:
            if outer.is_running and outer._key is not None:
                # The layers of one check have one title.
                if titles[-1] != str(outer) or (outer._key == self._key and len(titles) == 1):
                    titles.append(str(outer))
                if outer._key == self._key:
                    raise PermissionRecursionError(
                        f"The check of {self} entered itself: {' -> '.join(reversed(titles))}."
                        " An access method must not check what it is deciding."
                    )
            outer = outer._outer

    @staticmethod
    def _current() -> "Running | None":
        # A context may have a check that has ended: that of a task which the check has started.
        running = innermost.get()
        while running is not None and not running.is_running:
            running = running._outer
        return running

    @staticmethod
    def hold(function: Callable[..., T], *args: object) -> T:
        """Call a function for the innermost check, which goes on running until that returns.

        A thread cannot be stopped: when a check is cancelled, the function that it has called in
        a thread runs on, and has to keep to the generation that the check began with.

        Args:
            function: The function.
            *args: The arguments.
        """
        running = Running._current()
        if running is None:
            return function(*args)
        with _counting:
            running._held += 1
        try:
            return function(*args)
        finally:
            with _counting:
                running._held -= 1

    @staticmethod
    def generation_for(cache: PermissionCache) -> Generation:
        """Return the generation that code in this context has to use.

        Args:
            cache: The permission cache of a user.

        Returns:
            That of the innermost running check of the user, else the current one.
        """
        running = Running._current()
        while running is not None:
            if running.is_running and running._cache is cache:
                return running.generation
            running = running._outer
        return cache.generation


def _identity(instance: object) -> object:
    if instance is None:
        return None
    # By key where there is one: the same row in another instance is the same question.
    key = object_key(instance) if isinstance(instance, Model) else None
    return id(instance) if key is None else key
