"""Pairs of access methods for every kind of user, against rules that are written out here.

`right` says who is granted what. It judges the library in both APIs and `tests.reference`, which
judges the library in histories (`tests.differential`), so these judge the rest of the reference.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.test import override_settings

from djem_async.access import without_model_level
from djem_async.auth import ObjectPermissionsBackend
from djem_async.exceptions import NotADecisionError
from tests import reference
from tests.conftest import permission
from tests.reference import BOTH
from tests.testapp.models import Gate, PlainUser, User

PERM = "testapp.open_gate"  # the only permission of its model


class Method(NamedTuple):
    """A kind of access method: how it is written, and what it answers."""

    form: str
    answer: bool | type[PermissionDenied]
    mark: str = ""  # "+" without the model level, "*" by visitors as well

    def __str__(self) -> str:
        return f"{self.form}: {getattr(self.answer, '__name__', self.answer)}{self.mark}"

    def written(self, source: str) -> dict[str, Callable[..., Any]]:
        """Return the attributes of a class that has it."""

        def plain(_: Gate, argument: Any) -> Any:
            if self.answer is PermissionDenied:
                raise PermissionDenied
            return self.answer

        async def native(_: Gate, argument: Any) -> Any:
            return plain(_, argument)

        name, twin = f"_{source}_can_open_gate", f"_a{source}_can_open_gate"
        forms: dict[str, dict[str, Callable[..., Any]]] = {
            "def": {name: plain},
            "async def": {name: native},
            "async twin": {twin: native},
            "coroutine": {name: lambda *args: native(*args)},
        }
        if not self.mark:
            return forms[self.form]
        mark = without_model_level(anonymous=self.mark == "*")
        return {name: mark(method) for name, method in forms[self.form].items()}

    def in_reference(self) -> reference.Method:
        method = self._in_reference
        return reference.WithoutModelLevel(method, self.mark == "*") if self.mark else method

    def _in_reference(self, user: reference.User) -> Any:
        if self.answer is PermissionDenied and (user.is_async or self.form != "coroutine"):
            raise reference.PermissionDenied
        return reference.Unawaited(self.answer) if self.form == "coroutine" else self.answer


KINDS = [
    None,  # no method
    *itertools.starmap(
        Method, itertools.product(("def", "coroutine"), (True, False, PermissionDenied))
    ),
    *(Method("async twin", answer) for answer in (True, False)),
    Method("async def", True),
]
MARKED = [
    None,
    Method("def", True),
    *(Method("def", True, mark) for mark in "+*"),
    Method("def", False, "*"),
    Method("coroutine", True, "+"),
    Method("async twin", True, "*"),
]


def in_turn() -> Iterator[tuple[Method | None, Method | None]]:
    """Return the pairs that can differ, of the method that is asked first and of the second.

    After a grant the second only has to stay unasked. Otherwise it decides, whatever the first was.
    """
    denies = Method("def", False)
    for first in KINDS:
        if first in (None, denies):
            seconds = KINDS
        elif first and first.answer is True:
            seconds = [None, denies, Method("coroutine", True)]
        else:
            seconds = [None, denies, Method("def", True)]
        yield from itertools.product([first], seconds)


PAIRS = {*in_turn(), *itertools.product(MARKED, MARKED)}


class World(NamedTuple):
    """Everything else that matters."""

    is_universal: bool
    verbosity: int
    is_open: bool
    model_level: bool
    is_superuser: bool
    is_active: bool
    has_mixin: bool
    is_anonymous: bool = False

    @property
    def is_telling(self) -> bool:
        """Whether no other world tells as much."""
        if not self.is_active:  # nothing else matters
            return self.is_open and not (self.is_universal or self.verbosity)
        if self.verbosity and not self.is_open:
            return False
        # The first two settings have no meaning without the mixin.
        return self.has_mixin or self.is_universal == bool(self.verbosity)


SETTINGS = ("DJEM_UNIVERSAL_OLP", "DJEM_PERM_LOG_VERBOSITY", "DJEM_OPEN_BY_DEFAULT")
ALL_WORLDS = itertools.product((False, True), (0, 2), *[(False, True)] * 5)
WORLDS = [world for each in ALL_WORLDS if (world := World(*each)).is_telling]
WORLDS.append(World(True, 2, True, *[False] * 4, is_anonymous=True))


def right(world: World, methods: dict[str, Any], sources: Iterable[str], *, is_sync: bool) -> Any:
    """Return the right decision, or the exception that must come instead."""
    if not (world.is_active or world.is_anonymous):
        return False
    if world.is_superuser and not (world.is_universal and world.has_mixin):
        return True
    is_held = world.model_level or world.is_superuser
    asked = [methods[source] for source in sources if methods[source] is not None]
    if not is_held:
        marks = ("*",) if world.is_anonymous else ("*", "+")
        asked = [method for method in asked if method.mark in marks]
    for method in asked:
        if is_sync and method.form == "coroutine":
            return NotADecisionError
        if method.answer is True:
            return True
    return is_held and world.is_open and not asked


def outcome(ask: Callable[..., Any], *args: Any) -> Any:
    try:
        return ask(*args)
    except (NotADecisionError, reference.NotADecisionError):
        return NotADecisionError


class Judge:
    """Asks users of each world in the library, and in the reference."""

    def __init__(self, methods: dict[str, Any]) -> None:
        self.methods = methods
        # Two methods whose marks have no effect are like those without marks.
        marks = all(methods.values()) and any(method.mark for method in methods.values())
        self.worlds = [world for world in WORLDS if not (marks and world.model_level)]
        self.gate = Gate.objects.create()
        self.keys = {}
        for kind, model_level in itertools.product((PlainUser, User), (False, True)):
            user = kind.objects.create(**{kind.USERNAME_FIELD: str(model_level)})
            user.user_permissions.set([permission(PERM)] * model_level)
            self.keys[kind, model_level] = user.pk

    def user(self, world: World) -> Any:
        if world.is_anonymous:
            return AnonymousUser()
        kind = User if world.has_mixin else PlainUser
        key = self.keys[kind, world.model_level]
        return kind(pk=key, is_active=world.is_active, is_superuser=world.is_superuser)

    def in_reference(self, world: World, *, is_sync: bool) -> tuple[Any, Any]:
        user = person(is_async=not is_sync, **world._asdict())
        asks = {source: each and each.in_reference() for source, each in self.methods.items()}
        found = reference.Object("Gate", 1, perms=frozenset({PERM}), method=lambda s, _: asks[s])
        return user, found

    def judge(self, cases: Callable[..., Iterator[Any]]) -> None:
        """Hold the library to cases ``(world, user, method, arguments, right result)``."""

        async def in_async() -> None:
            for world, user, name, args, wanted in each_world(is_sync=False):
                try:
                    found = await getattr(user, f"a{name}")(*args)
                except NotADecisionError:
                    found = NotADecisionError
                # As text, in which True is not 1.
                assert repr(found) == repr(wanted), (world, name)

        def each_world(*, is_sync: bool) -> Iterator[Any]:
            for settings, worlds in itertools.groupby(self.worlds, key=lambda world: world[:3]):
                with override_settings(**dict(zip(SETTINGS, settings, strict=True))):
                    for world in worlds:
                        for case in cases(world, is_sync=is_sync):
                            yield world, *case

        for world, user, name, args, wanted in each_world(is_sync=True):
            assert repr(outcome(getattr(user, name), *args)) == repr(wanted), (world, name)
        async_to_sync(in_async)()


def person(
    *,
    model_level: bool = True,
    is_universal: bool = False,
    verbosity: int = 0,
    is_open: bool = True,
    **flags: Any,
) -> reference.User:
    held = {"user": {PERM} if model_level else set(), "group": set()}
    backends = [reference.ModelBackend(), reference.ObjectPermissionsBackend()]
    settings = reference.Settings(is_universal, verbosity, backends, is_open)
    return reference.User(settings, reference.Database({PERM}, held), **flags)


@pytest.fixture
def judge(db, access_methods, user_method, group_method) -> Judge:
    methods = {"user": user_method, "group": group_method}
    for source, method in methods.items():
        access_methods(Gate, **(method.written(source) if method else {}))
    return Judge(methods)


def each_pair(pairs: Iterable[tuple[Method | None, Method | None]]) -> Any:
    return pytest.mark.parametrize(
        ("user_method", "group_method"),
        sorted(pairs, key=str),
        ids=lambda kind: str(kind or "absent"),
    )


@each_pair(PAIRS)
def test_a_check_decides_as_the_reference_does(judge):
    def cases(world: World, *, is_sync: bool) -> Iterator[Any]:
        wanted = right(world, judge.methods, BOTH, is_sync=is_sync)
        user, obj = judge.in_reference(world, is_sync=is_sync)
        assert outcome(user.has_perm, PERM, obj) is wanted, world
        yield from [(judge.user(world), "has_perm", (PERM, judge.gate), wanted)] * 2

    judge.judge(cases)


OURS = ObjectPermissionsBackend()
SETS = {"user": ("user",), "group": ("group",), "all": BOTH}
# How two of them go together is tested above.
ONE = {pair for pair in PAIRS if not {None, Method("def", False)}.isdisjoint(pair)}


@each_pair(ONE)
def test_permission_sets_hold_what_the_reference_grants(judge):
    def cases(world: World, *, is_sync: bool) -> Iterator[Any]:
        is_asked = world.is_anonymous or (world.has_mixin and not world.verbosity)
        # A user of Django's that is asked has no permissions by groups.
        who = judge.user(world)
        for name, sources in SETS.items() if is_asked else ():
            granted = right(world, judge.methods, sources, is_sync=is_sync)
            wanted = {True: {PERM}, False: set()}.get(granted, granted)
            user, obj = judge.in_reference(world, is_sync=is_sync)
            assert outcome(user.permissions, obj, sources) == wanted, world
            asked, args = (OURS, (who,)) if world.is_anonymous else (who, ())
            yield asked, f"get_{name}_permissions", (*args, judge.gate), wanted

    judge.judge(cases)
