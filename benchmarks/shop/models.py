"""A user and a product, the same for all contenders but for what each library asks for."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser, Group, Permission
from django.db import models

CONTENDER: str = settings.CONTENDER

if CONTENDER == "djem_async":
    from djem_async.access import nonblocking
    from djem_async.models import OLPMixin
elif CONTENDER == "djem":
    from djem.models import OLPMixin
else:

    class OLPMixin:  # type: ignore[no-redef]
        pass


class User(OLPMixin, AbstractUser):
    pass


class PlainUser(AbstractUser):
    """The same rows as `User`, in a model that has nothing of any library."""

    groups = models.ManyToManyField(Group, related_name="+")
    user_permissions = models.ManyToManyField(Permission, related_name="+")

    class Meta:
        db_table = "shop_user"
        managed = False


class Product(models.Model):
    name = models.CharField(max_length=50)
    is_open = models.BooleanField(default=True)

    class Meta:
        # Four permissions, because there are four kinds of access method.
        permissions = [
            (f"{kind}_product", f"Can check {kind}")
            for kind in ("plain", "inline", "async", "logged")
        ]

    def __str__(self) -> str:
        return self.name

    def _user_can_plain_product(self, _user: Any) -> bool:
        return self.is_open

    def _user_can_inline_product(self, _user: Any) -> bool:
        return self.is_open

    def _user_can_logged_product(self, user: Any) -> bool:
        user.log("It is open." if self.is_open else "It is not open.")
        return self.is_open

    if CONTENDER == "djem_async":
        nonblocking(_user_can_inline_product)
        nonblocking(_user_can_logged_product)

        async def _user_can_async_product(self, _user: Any) -> bool:
            return self.is_open

    else:

        def _user_can_async_product(self, _user: Any) -> bool:
            return self.is_open
