"""What is true, since when, and what the server may therefore answer.

Nothing here asks the library: the decisions and their logs are written down once more.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from math import inf
from typing import Any, Final, NamedTuple, TypeAlias

from django.contrib.auth.models import Group, Permission
from django.db.models import Model
from inventory.models import Product, Supplier, User

from .models import Gate
from .views import PERMS

GROUPS: Final = {
    "Staff": ("inventory.view_product", "inventory.change_product", "soak.enter_gate"),
    "Guards": ("soak.enter_gate", "soak.leave_gate", "inventory.manage_supplier"),
}


class Change(NamedTuple):
    """A new value; requests may see it once ``begun``, and must from when it is ``committed``."""

    begun: float
    committed: float
    value: bool


class Fact:
    """Something in the database that is so or not, and how that came about."""

    def __init__(self, value: bool, write: Callable[[bool], Awaitable[object]]) -> None:
        self._write = write
        self._lock = asyncio.Lock()
        self._changes = [Change(-inf, -inf, value)]

    async def flip(self) -> bool:
        """Make the opposite true, and return it."""
        async with self._lock:
            change = Change(time.monotonic(), inf, not self._changes[-1].value)
            self._changes.append(change)
            await self._write(change.value)
            self._changes[-1] = change._replace(committed=time.monotonic())
            # No request takes as long as the last twenty changes.
            del self._changes[:-20]
        return change.value

    def values(self, start: float, end: float) -> list[bool]:
        """Return what was true at some moment between two."""
        ends = [*(change.committed for change in self._changes[1:]), inf]
        return sorted(
            {
                change.value
                for change, replaced in zip(self._changes, ends, strict=True)
                if change.begun <= end and replaced >= start
            }
        )


def row(table: Any, value: bool = False, **fields: Any) -> Fact:
    """Return the fact that a row exists."""

    async def write(value: bool) -> None:
        if value:
            await table._default_manager.acreate(**fields)
        else:
            await table._default_manager.filter(**fields).adelete()

    if value:
        table._default_manager.create(**fields)
    return Fact(value, write)


def column(obj: Model, name: str, no: Any = False, yes: Any = True) -> Fact:
    """Return the fact that a column has one value and not another."""
    rows = obj.__class__._default_manager.filter(pk=obj.pk)

    async def write(value: bool) -> None:
        await rows.aupdate(**{name: yes if value else no})

    return Fact(getattr(obj, name) == yes, write)


Look: TypeAlias = Callable[[Fact], bool]
Decision: TypeAlias = tuple[bool, list[str]]


class World:
    """The data in the database."""

    def __init__(self) -> None:
        """Put the data into an empty database."""
        perms = {
            f"{perm.content_type.app_label}.{perm.codename}": perm
            for perm in Permission.objects.select_related("content_type")
        }
        self.groups = [Group.objects.create(name=name) for name in GROUPS]
        for group in self.groups:
            group.permissions.set(perms[name] for name in GROUPS[group.name])
        suppliers = [Supplier.objects.create(name=f"Supplier {number}") for number in range(2)]
        products = [
            Product.objects.create(code=f"P-{number}", supplier=suppliers[number % 2])
            for number in range(6)
        ]
        gates = [Gate._default_manager.create() for _ in range(4)]
        self.objects: dict[type[Model], list[Any]] = {
            Supplier: suppliers,
            Product: products,
            Gate: gates,
        }
        names = ("ada", "ben", "cho", "dee", "eve", "root")
        self.users = [User.objects.create(username=name) for name in names]
        # Nobody changes what this one may: everything that can be given.
        self.hog = User.objects.create(username="hog")

        self.superuser: dict[Any, Fact] = {self.users[-1]: column(self.users[-1], "is_superuser")}
        self.direct: dict[Any, Fact] = {}
        self.member: dict[Any, Fact] = {}
        self.manager: dict[Any, Fact] = {}
        self.keeper: dict[Any, Fact] = {}
        direct, member = User.user_permissions.through, User.groups.through
        manager, keeper = Supplier.managers.through, Gate.keepers.through
        for user in [*self.users, self.hog]:
            held = user != self.users[0]
            for perm in PERMS:
                self.direct[user, perm] = row(direct, held, user=user, permission=perms[perm])
            for group in self.groups:
                self.member[user, group] = row(member, user=user, group=group)
            for supplier in suppliers:
                self.manager[user, supplier] = row(manager, held, user=user, supplier=supplier)
            for gate in gates:
                self.keeper[user, gate] = row(keeper, held, user=user, gate=gate)
        wardens = Gate.wardens.through
        self.warden: dict[Any, Fact] = {
            (group, gate): row(wardens, group=group, gate=gate)
            for group in self.groups
            for gate in gates
        }
        self.active: dict[Any, Fact] = {each: column(each, "active") for each in products}
        self.stock: dict[Any, Fact] = {each: column(each, "stock", 0, 5) for each in products}

    def decide(self, look: Look, user: Any, perm: str, obj: Any) -> Decision:
        """Return the decision and its log in a world where ``look`` tells what is true."""
        log = [f"Permission: {perm}", f"User: {user} ({user.pk})", f"Object: {obj} ({obj.pk})", ""]
        if user in self.superuser and look(self.superuser[user]):
            granted = True
            log.append("Active superuser: Implicit permission")
        else:
            granted = look(self.direct[user, perm]) or any(
                perm in GROUPS[group.name] and look(self.member[user, group])
                for group in self.groups
            )
            log.append(f"Model-level Result: {_said(granted)}\n")
            if granted:
                granted, lines = self._object_level(look, user, perm, obj)
                log += lines
        return granted, [*log, f"\nRESULT: Permission {_said(granted)}"]

    def _object_level(self, look: Look, user: Any, perm: str, obj: Any) -> Decision:
        match perm:
            case "inventory.view_product":
                granted = (
                    look(self.active[obj])
                    or (self.decide(look, user, "inventory.manage_supplier", obj.supplier)[0])
                )
                reason = "Only managers of the supplier and auditors see discontinued products"
                return granted, [reason]
            case "inventory.change_product" if not look(self.active[obj]):
                return False, ["Cannot change discontinued product lines"]
            case "inventory.delete_product" if look(self.active[obj]):
                return False, ["Cannot delete active product lines"]
            case "inventory.delete_product" if look(self.stock[obj]):
                return False, ["Cannot delete products with stock on hand"]
            case "inventory.delete_product":
                perm = "inventory.manage_supplier"
                granted, _ = self.decide(look, user, perm, obj.supplier)
                denied = f"{user} does not manage {obj.supplier}"
                return granted, ["Product can be deleted" if granted else denied]
            case "inventory.manage_supplier":
                return look(self.manager[user, obj]), ["Only for managers of the supplier"]
            case "soak.enter_gate" | "soak.leave_gate" | "soak.close_gate":
                granted = look(self.keeper[user, obj])
                log = [f"{user} is {'a' if granted else 'no'} keeper of {obj}"]
                if perm == "soak.enter_gate" and not granted:
                    granted = any(
                        look(self.warden[group, obj]) and look(self.member[user, group])
                        for group in self.groups
                    )
                return granted, log
        return True, []

    def possible(self, start: float, end: float, *check: Any) -> list[Decision]:
        """Return every right answer to a check that was made between two moments."""
        found: list[Decision] = []
        for decision in _explore(
            lambda look: self.decide(look, *check), lambda fact: fact.values(start, end)
        ):
            if decision not in found:
                found.append(decision)
        return found

    def relevant(self, *check: Any) -> list[Fact]:
        """Return the facts that a check may rest on."""
        facts: dict[Fact, None] = {}

        def options(fact: Fact) -> list[bool]:
            facts[fact] = None
            return [False, True]

        for _ in _explore(lambda look: self.decide(look, *check), options):
            pass
        return list(facts)


def _explore(
    decide: Callable[[Look], Decision], options: Callable[[Fact], list[bool]]
) -> Iterator[Decision]:
    """Decide again and again, until every look has had every value that it can have."""
    scripts: list[list[bool]] = [[]]
    while scripts:
        script = scripts.pop()
        replayed = iter(script.copy())

        def look(
            fact: Fact, script: list[bool] = script, replayed: Iterator[bool] = replayed
        ) -> bool:
            for value in replayed:
                return value
            first, *others = options(fact)
            scripts.extend([*script, other] for other in others)
            script.append(first)
            return first

        yield decide(look)


def _said(granted: bool) -> str:
    return "Granted" if granted else "Denied"
