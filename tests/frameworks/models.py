from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models

from djem_async.models import OLPMixin

if settings.AUTH_USER_MODEL == "frameworks.User":

    class User(OLPMixin, AbstractUser):
        pass


class Post(models.Model):
    """Its owner may change it."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)

    def _user_can_change_post(self, user: Any) -> bool:
        return bool(self.owner_id == user.pk)


class Note(models.Model):
    """A model without access methods."""

    is_public = models.BooleanField(default=False)
