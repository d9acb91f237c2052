"""Bugs for the server to have, to see that the soak test notices them."""

from collections.abc import Callable
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from inventory.models import User

from .models import Gate


def stale() -> None:
    """Users, and so their decisions, live on from one request to the next."""
    known: dict[Any, Any] = {}
    get_user = ModelBackend.get_user

    def get_known(self: ModelBackend, user_id: Any) -> Any:
        return known.get(user_id) or known.setdefault(user_id, get_user(self, user_id))

    _replace(ModelBackend, get_user=get_known, aget_user=sync_to_async(get_known))


def uncleared() -> None:
    """Clearing the permission cache does nothing."""

    async def nothing(self: User) -> None: ...

    _replace(User, aclear_perm_cache=nothing)


def method() -> None:
    """An access method looks at the wrong rows."""
    _replace(Gate, _keepers=lambda self, user: Gate.keepers.through.objects.filter(user=user))


def forgiving() -> None:
    """A check that fails grants."""
    ahas_perm = User.ahas_perm

    async def agranting(self: User, perm: str, obj: Any = None) -> bool:
        try:
            return await ahas_perm(self, perm, obj)
        except BaseException:  # noqa: BLE001 - that is the bug
            return True

    _replace(User, ahas_perm=agranting)


def logs() -> None:
    """The last log is that of any user."""
    end_log = User.end_log
    last: list[Any] = []

    def ending(self: User) -> Any:
        last[:] = [end_log(self)]
        return last[0]

    _replace(User, end_log=ending, get_last_log=lambda self, **_: last[0][1])


def leak() -> None:
    """Users are kept for ever."""
    init = User.__init__
    kept: list[Any] = []

    def keeping(self: User, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        kept.append(self)

    _replace(User, __init__=keeping)


def files() -> None:
    """Files stay open."""
    init = User.__init__
    kept: list[Any] = []

    def opening(self: User, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if len(kept) < 500:
            kept.append(open("/dev/null"))  # noqa: PTH123, SIM115

    _replace(User, __init__=opening)


SABOTAGE: Final[dict[str, Callable[[], None]]] = {
    bug.__name__: bug for bug in (stale, uncleared, method, forgiving, logs, leak, files)
}


def _replace(owner: type, **attributes: Any) -> None:
    for name, value in attributes.items():
        setattr(owner, name, value)
