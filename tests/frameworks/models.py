from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied
from django.db import models

from djem_async.access import without_model_level
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


class Shelf(models.Model):
    """Its owner may view it, by a query form alone."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)

    @classmethod
    def _quser_can_view_shelf(cls, user: Any) -> models.Q:
        return models.Q(owner=user)


class Box(models.Model):
    """An open box may be viewed by everybody; each other, and changes, are for its owner."""

    shelf = models.ForeignKey(Shelf, on_delete=models.CASCADE, related_name="boxes")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE)
    is_open = models.BooleanField(default=False)
    label = models.CharField(max_length=20, blank=True)

    def _user_can_view_box(self, user: Any) -> bool:
        return self.is_open or self.owner_id == user.pk

    @classmethod
    def _quser_can_view_box(cls, user: Any) -> models.Q:
        return models.Q(is_open=True) | models.Q(owner=user)

    def _user_can_change_box(self, user: Any) -> bool:
        return bool(self.owner_id == user.pk)

    _user_can_add_box = _user_can_delete_box = _user_can_change_box


class Article(models.Model):
    """Its author may do anything, but a published one can't be deleted; others may read that."""

    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    title = models.CharField(max_length=100)
    is_published = models.BooleanField(default=False)
    readers = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="+", blank=True)

    class Meta:
        permissions = [("publish_article", "Can publish article")]

    @classmethod
    def _quser_can_view_article(cls, user: Any) -> models.Q:
        return models.Q(author=user) | models.Q(is_published=True)

    def _user_can_add_article(self, user: Any) -> bool:
        return bool(self.author_id == user.pk)

    async def _auser_can_change_article(self, user: Any) -> bool:
        return bool(self.author_id == user.pk)

    def _user_can_delete_article(self, user: Any) -> bool:
        if self.is_published:
            raise PermissionDenied("Published articles stay.")
        return bool(self.author_id == user.pk)

    def _user_can_publish_article(self, user: Any) -> bool:
        return bool(self.author_id == user.pk)


class Memo(models.Model):
    """Its author needs no permission at the model level, and a public one is for everybody."""

    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    title = models.CharField(max_length=100)
    is_published = models.BooleanField(default=False)

    @classmethod
    @without_model_level(anonymous=True)
    def _quser_can_view_memo(cls, user: Any) -> models.Q:
        return models.Q(author=user.pk) | models.Q(is_published=True)

    @without_model_level
    def _user_can_add_memo(self, user: Any) -> bool:
        return bool(self.author_id == user.pk)

    @without_model_level
    def _user_can_change_memo(self, user: Any) -> bool:
        return bool(self.author_id == user.pk)

    def _user_can_delete_memo(self, user: Any) -> bool:
        return bool(self.author_id == user.pk)
