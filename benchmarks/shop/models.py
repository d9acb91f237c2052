"""A user and a product, the same for every library."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models

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
