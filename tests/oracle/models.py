"""A user model with djem's mixin, beside that of `tests.testapp`."""

from django.contrib.auth.models import AbstractUser, Group, Permission
from django.db import models
from djem.models import OLPMixin


class DjemUser(OLPMixin, AbstractUser):
    groups = models.ManyToManyField(Group, related_name="+")
    user_permissions = models.ManyToManyField(Permission, related_name="+")
