"""Every kind of access method, in every kind of world, against a reference written out here.

`reference` says what the library promises. It knows nothing of the library's code.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import PermissionDenied
from django.test import override_settings

from djem_async.exceptions import NotADecisionError
from tests.testapp.models import Gate, User

PERM = "testapp.open_gate"  # the only permission of its model

Form = Literal["def", "async def", "async twin", "def returning a coroutine"]


class Method(NamedTuple):
    """A kind of access method: how it is written, and what it answers."""

    form: Form
    answer: bool | type[PermissionDenied] | None

    def __str__(self) -> str:
        return f"{self.form}: {getattr(self.answer, '__name__', self.answer)}"


KINDS: list[Method | None] = [
    None,  # no method
    *itertools.starmap(
        Method,
        itertools.product(
            ("def", "async def", "async twin", "def returning a coroutine"),
            (True, False, None, PermissionDenied),
        ),
    ),
]


class World(NamedTuple):
    """All else that matters."""

    model_level: bool
    is_superuser: bool
    is_universal: bool
    is_active: bool


WORLDS = list(itertools.starmap(World, itertools.product((False, True), repeat=4)))

ALL = ("user", "group")
SETS = {
    "get_user_permissions": ("user",),
    "get_group_permissions": ("group",),
    "get_all_permissions": ALL,
}


def reference(
    world: World, methods: dict[str, Method | None], sources: Any, *, is_sync: bool
) -> Any:
    """Return the right decision, or the exception that must come instead."""
    if not world.is_active:
        return False
    if world.is_superuser and not world.is_universal:
        return True
    if not (world.model_level or world.is_superuser):
        return False
    asked = [methods[source] for source in sources if methods[source] is not None]
    for method in asked:
        if is_sync and method.form == "def returning a coroutine":
            return NotADecisionError
        if method.answer is True:
            return True
    return not asked


def written(source: str, method: Method | None) -> dict[str, Callable[..., Any]]:
    """Write an access method, as the attributes of a class."""
    if method is None:
        return {}

    def plain(self: Gate, argument: Any) -> Any:
        if method.answer is PermissionDenied:
            raise PermissionDenied
        return method.answer

    async def native(self: Gate, argument: Any) -> Any:
        return plain(self, argument)

    def returning(self: Gate, argument: Any) -> Any:
        return native(self, argument)

    prefix = "_a" if method.form == "async twin" else "_"
    function = {"def": plain, "def returning a coroutine": returning}.get(method.form, native)
    return {f"{prefix}{source}_can_open_gate": function}


def users(world: World) -> Iterator[User]:
    """Return the users of a world, each with nothing known yet but its model-level permissions."""
    while True:
        user = User(
            pk=1,
            username="user.name",
            is_active=world.is_active,
            is_superuser=world.is_superuser,
        )
        # Where Django's backend keeps what it has fetched; its async form knows no `_perm_cache`.
        user._user_perm_cache = {PERM} if world.model_level else set()
        user._group_perm_cache = set()
        yield user


def saved_gate() -> Gate:
    gate = Gate(pk=1)
    gate._state.adding, gate._state.db = False, "default"
    return gate


def outcome(ask: Callable[..., Any], *args: Any) -> Any:
    try:
        return ask(*args)
    except NotADecisionError:
        return NotADecisionError


async def aoutcome(ask: Callable[..., Any], *args: Any) -> Any:
    try:
        return await ask(*args)
    except NotADecisionError:
        return NotADecisionError


def of_each_kind(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, KINDS, ids=lambda kind: str(kind or "absent"))


@pytest.fixture
def methods(access_methods, user_method, group_method):
    methods = {"user": user_method, "group": group_method}
    for source, method in methods.items():
        access_methods(Gate, **written(source, method))
    return methods


def each_world() -> Iterator[World]:
    for is_universal in (False, True):
        with override_settings(DJEM_UNIVERSAL_OLP=is_universal):
            yield from (world for world in WORLDS if world.is_universal == is_universal)


@of_each_kind("user_method")
@of_each_kind("group_method")
@pytest.mark.parametrize("verbosity", [0, 2])
def test_a_check_decides_as_the_reference_does(methods, verbosity):
    gate = saved_gate()

    def check_sync(world: World) -> None:
        right = reference(world, methods, ALL, is_sync=True)
        user = next(users(world))
        for cache in ("cold", "warm"):
            assert outcome(user.has_perm, PERM, gate) is right, (world, cache)

    async def check_async(world: World) -> None:
        right = reference(world, methods, ALL, is_sync=False)
        user = next(users(world))
        for cache in ("cold", "warm"):
            assert await aoutcome(user.ahas_perm, PERM, gate) is right, (world, cache)

    async def check_all_async() -> None:
        for world in each_world():
            await check_async(world)

    with override_settings(DJEM_PERM_LOG_VERBOSITY=verbosity):
        for world in each_world():
            check_sync(world)
        async_to_sync(check_all_async)()


@of_each_kind("user_method")
@of_each_kind("group_method")
def test_permission_sets_hold_what_the_reference_grants(db, methods):
    gate = saved_gate()

    def expected(world: World, sources: Any, *, is_sync: bool) -> Any:
        right = reference(world, methods, sources, is_sync=is_sync)
        return right if right is NotADecisionError else ({PERM} if right else set())

    async def check_all_async() -> None:
        for world in each_world():
            for (name, sources), user in zip(SETS.items(), users(world), strict=False):
                found = await aoutcome(getattr(user, f"a{name}"), gate)
                assert found == expected(world, sources, is_sync=False), (world, name)

    for world in each_world():
        for (name, sources), user in zip(SETS.items(), users(world), strict=False):
            found = outcome(getattr(user, name), gate)
            assert found == expected(world, sources, is_sync=True), (world, name)
    async_to_sync(check_all_async)()
