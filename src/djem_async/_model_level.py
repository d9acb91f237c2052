"""Django's caches of model-level permissions, as attributes of users with `OLPMixin`."""

from typing import Self, overload

from ._running import generation_in_use
from ._store import permission_cache


class ModelLevelCache:
    """One of Django's caches of model-level permissions, stored with the decisions.

    Django's backends read and set it as a plain attribute of the user. Here it belongs to the
    generation of the cache that the running check began with. So permissions that are being fetched
    during a clear aren't cached after it.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, user: None, owner: type) -> Self: ...
    @overload
    def __get__(self, user: object, owner: type) -> set[str]: ...
    def __get__(self, user: object | None, owner: type) -> Self | set[str]:
        if user is None:
            return self
        try:
            return generation_in_use(user).caches_of(user)[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def __set__(self, user: object, value: set[str]) -> None:
        generation_in_use(user).caches_of(user)[self._name] = value

    def __delete__(self, user: object) -> None:
        is_set = self._name in generation_in_use(user).caches_of(user)
        # Deleting one of the others deletes `_perm_cache` as well, and code may delete all of them.
        # Before the error, because another scope may have it.
        permission_cache(user).drop_model_level(self._name)
        if not is_set and self._name != "_perm_cache":
            raise AttributeError(self._name)
