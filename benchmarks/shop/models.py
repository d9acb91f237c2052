"""A user and a product, the same for every library."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q

if settings.LIBRARY == "djem_async":
    from djem_async.access import nonblocking
    from djem_async.models import OLPMixin
elif settings.LIBRARY == "djem":
    from djem.models import OLPMixin
else:

    class OLPMixin:  # type: ignore[no-redef]
        pass


class User(OLPMixin, AbstractUser):
    pass


class Product(models.Model):
    name = models.CharField(max_length=50)
    is_open = models.BooleanField(default=True)

    class Meta:
        permissions = [
            ("open_product", "Can open, asks a plain method"),
            ("touch_product", "Can touch, asks a nonblocking method"),
            ("log_product", "Can log, asks a method that logs"),
        ]

    def __str__(self) -> str:
        return self.name

    def _user_can_open_product(self, _user: Any) -> bool:
        return self.is_open

    def _user_can_touch_product(self, _user: Any) -> bool:
        return self.is_open

    def _user_can_log_product(self, user: Any) -> bool:
        user.log("It is open." if self.is_open else "It is closed.")
        return self.is_open

    if settings.LIBRARY == "djem_async":
        nonblocking(_user_can_touch_product)


class Item(models.Model):
    """One of many, which its owner may view and its editors may change."""

    name = models.CharField(max_length=50)
    owner = models.ForeignKey(User, models.CASCADE, related_name="+")
    editors: Any = models.ManyToManyField(User, related_name="+")

    def __str__(self) -> str:
        return self.name

    if settings.LIBRARY == "djem_async":

        @classmethod
        def _quser_can_view_item(cls, user: Any) -> Q:
            return Q(owner=user)

        @classmethod
        def _quser_can_change_item(cls, user: Any) -> Q:
            return Q(editors=user)

    else:

        def _user_can_view_item(self, user: Any) -> bool:
            return bool(self.owner_id == user.pk)

        def _user_can_change_item(self, user: Any) -> bool:
            return bool(self.editors.filter(pk=user.pk).exists())


if settings.LIBRARY == "guardian":
    from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

    # With foreign keys to items, which guardian recommends for speed.
    class ItemUserObjectPermission(UserObjectPermissionBase):
        content_object = models.ForeignKey(Item, models.CASCADE)

    class ItemGroupObjectPermission(GroupObjectPermissionBase):
        content_object = models.ForeignKey(Item, models.CASCADE)
