"""Other authentication backends, which stand next to ours in many tests."""

from typing import Any

from django.core.exceptions import PermissionDenied

from tests.conftest import PERM


class Abstains:
    """Has both forms; subclasses answer in `say`."""

    def say(self, user: Any, perm: str, obj: Any) -> bool:
        return False

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return self.say(user_obj, perm, obj)

    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return self.say(user_obj, perm, obj)


class Grants(Abstains):
    def say(self, user: Any, perm: str, obj: Any) -> bool:
        return True


class GrantsModelLevel(Abstains):
    def say(self, user: Any, perm: str, obj: Any) -> bool:
        return obj is None


class ModelLevelAlone(GrantsModelLevel):
    answers_for_objects = False


class Vetoes(Abstains):
    def say(self, user: Any, perm: str, obj: Any) -> bool:
        raise PermissionDenied


class VetoesModelLevel(Abstains):
    def say(self, user: Any, perm: str, obj: Any) -> bool:
        if obj is None:
            raise PermissionDenied
        return False


class SyncOnly:
    """Has one form alone, as backends do that are older than the async API."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return perm == PERM


class SyncOnlyObjects:
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return perm == PERM and obj is not None


class AsyncOnly:
    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return perm == PERM
