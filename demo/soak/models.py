"""A model with the kinds of access methods that the demo does not have, and with faults."""

from typing import Any

from django.contrib.auth.models import Group
from django.db import models
from inventory.models import User

from .faults import astrike, strike


class Gate(models.Model):
    keepers = models.ManyToManyField(User, related_name="gates")
    wardens = models.ManyToManyField(Group, related_name="gates")

    class Meta:
        default_permissions = ()
        permissions = [
            ("enter_gate", "A sync method, of the user and of the groups"),
            ("leave_gate", "An async method"),
            ("close_gate", "A method in both forms"),
        ]

    def __str__(self) -> str:
        return f"Gate {self.pk}"

    def _user_can_enter_gate(self, user: User) -> bool:
        return self._decide(user)

    def _group_can_enter_gate(self, groups: "models.QuerySet[Group]") -> bool:
        return self.wardens.filter(pk__in=groups).exists()

    async def _user_can_leave_gate(self, user: User) -> bool:
        return await self._adecide(user)

    def _user_can_close_gate(self, user: User) -> bool:
        return self._decide(user)

    async def _auser_can_close_gate(self, user: User) -> bool:
        return await self._adecide(user)

    def _decide(self, user: User) -> bool:
        is_keeper = self._keepers(user).exists()
        strike()
        return self._note(user, is_keeper)

    async def _adecide(self, user: User) -> bool:
        is_keeper = await self._keepers(user).aexists()
        await astrike()
        return self._note(user, is_keeper)

    def _keepers(self, user: User) -> "models.QuerySet[Any]":
        return Gate.keepers.through.objects.filter(gate=self, user=user)

    def _note(self, user: User, is_keeper: bool) -> bool:
        user.log(f"{user} is {'a' if is_keeper else 'no'} keeper of {self}")
        return is_keeper
