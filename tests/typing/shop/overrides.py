"""User models: our mixin is an acceptable override of Django's methods, and can be overridden."""

from __future__ import annotations

from typing import assert_type

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AbstractUser, PermissionsMixin
from django.db.models import Model

from djem_async.logs import Entry
from djem_async.models import Loggable, OLPMixin


class Complete(OLPMixin, AbstractUser):
    pass


class Minimal(OLPMixin, PermissionsMixin, AbstractBaseUser):  # P: reportIncompatibleVariableOverride
    pass


class Overriding(OLPMixin, AbstractUser):
    def has_perm(self, perm: str, obj: Model | None = None) -> bool:
        return super().has_perm(perm, obj)

    async def ahas_perm(self, perm: str, obj: Model | None = None) -> bool:
        return await super().ahas_perm(perm, obj)

    async def ahas_perms(self, perm_list: str) -> bool:  # E: override "OLPMixin" # E: override "PermissionsMixin" # P: reportIncompatibleMethodOverride # P: reportIncompatibleMethodOverride
        return True

    def end_log(self) -> tuple[str, list[Entry]]:
        return super().end_log()

    async def aend_log(self) -> tuple[str, list[Entry]]:
        return await super().aend_log()


class Strange(OLPMixin, AbstractUser):
    """Its checks take other arguments."""

    def has_perm(self, perm: str) -> bool:  # type: ignore[override]  # pyright: ignore
        return self.has_perms()

    def has_perms(self) -> bool:  # type: ignore[override]  # pyright: ignore
        return self.has_perm("shop.use_product")


class Report(Loggable):
    pass


async def answers(user: Complete, obj: Model, report: Report) -> None:
    assert_type(user.has_perm("a.b", obj), bool)  # E: djem-perm ""
    assert_type(await user.ahas_perm("a.b", obj), bool)  # E: djem-perm ""
    assert_type(await user.ahas_perms(["a.b"], obj=obj), bool)  # E: djem-perm ""
    assert_type(await user.aget_all_permissions(obj), set[str])
    assert_type(user.clear_perm_cache(), None)
    assert_type(report.get_log("a"), str)
    assert_type(report.get_last_log(raw=True), list[Entry])
    user.ahas_perm("a.b")  # E: djem-perm "" # E: unused-coroutine "" # P: reportUnusedCoroutine
