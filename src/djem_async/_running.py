"""The checks that are running in this context, from the outermost to the innermost."""

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self

from ._cache import Generation, PermissionCache, object_key, permission_cache
from .exceptions import PermissionRecursionError

_innermost: ContextVar["Running | None"] = ContextVar("djem_async_innermost_check", default=None)


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

    __slots__ = ("_cache", "_key", "_outer", "_subject", "_token", "generation", "is_open")

    generation: Generation

    def __init__(
        self, user: object, layer: str, perm: str | None = None, obj: object = None
    ) -> None:
        self._cache = permission_cache(user)
        self._key = None if perm is None else (layer, perm, _identity(user), _identity(obj))
        self._subject = (perm, None if obj is None else obj.__class__, getattr(obj, "pk", None))
        self._outer: Running | None = None
        self._token: Token[Running | None] | None = None
        self.is_open = False

    def __enter__(self) -> Self:
        outer = _innermost.get()
        while outer is not None and not outer.is_open:
            outer = outer._outer
        self._outer = outer
        if self._key is not None:
            self._refuse_recursion()
        self.generation = self._cache.generation
        self.is_open = True
        self._token = _innermost.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A task started meanwhile, or a thread that was given up, may still have this in its
        # context.
        self.is_open = False
        token, self._token = self._token, None
        if token is not None:
            try:
                _innermost.reset(token)
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
            if outer.is_open and outer._key is not None:
                # The layers of one check have one title.
                if titles[-1] != str(outer) or outer._key == self._key:
                    titles.append(str(outer))
                if outer._key == self._key:
                    raise PermissionRecursionError(
                        f"The check of {self} entered itself: {' -> '.join(reversed(titles))}."
                        " An access method must not check what it is deciding."
                    )
            outer = outer._outer

    @staticmethod
    def generation_for(cache: PermissionCache) -> Generation:
        """Return the generation that code in this context has to use.

        Args:
            cache: The permission cache of a user.

        Returns:
            That of the innermost running check of the user, else the current one.
        """
        running = _innermost.get()
        while running is not None:
            if running.is_open and running._cache is cache:
                return running.generation
            running = running._outer
        return cache.generation


def _identity(instance: object) -> object:
    if instance is None:
        return None
    # By key where there is one: the same row in another instance is the same question.
    key = object_key(instance) if hasattr(instance, "_state") else None
    return id(instance) if key is None else key
