"""Every pair of access methods for every kind of user, against rules that are written out here.

`right` says who is granted what. It judges the library in both APIs and `tests.reference`, which
judges the library in histories (`tests.differential`). Tables judge the rest of the reference.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import PermissionDenied
from django.test import override_settings

from djem_async.exceptions import NotADecisionError
from tests import reference
from tests.conftest import permission
from tests.reference import BOTH
from tests.testapp.models import Gate, PlainUser, User

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PERM = "testapp.open_gate"  # the only permission of its model


class Method(NamedTuple):
    """A kind of access method: how it is written, and what it answers."""

    form: str
    answer: bool | type[PermissionDenied]

    def __str__(self) -> str:
        return f"{self.form}: {getattr(self.answer, '__name__', self.answer)}"

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
        return forms[self.form]

    def in_reference(self, user: reference.User) -> Any:
        if self.answer is PermissionDenied and (user.is_async or self.form != "coroutine"):
            raise reference.PermissionDenied
        return reference.Unawaited(self.answer) if self.form == "coroutine" else self.answer


FORMS = ("def", "async def", "async twin", "coroutine")
KINDS = [
    None,  # no method
    *itertools.starmap(Method, itertools.product(FORMS, (True, False, PermissionDenied))),
]


class World(NamedTuple):
    """Everything else that matters."""

    is_universal: bool
    verbosity: int
    model_level: bool
    is_superuser: bool
    is_active: bool
    has_mixin: bool


SETTINGS = ("DJEM_UNIVERSAL_OLP", "DJEM_PERM_LOG_VERBOSITY")
WORLDS = [
    world
    for each in itertools.product((False, True), (0, 2), *[(False, True)] * 4)
    # Neither setting has a meaning without the mixin.
    if (world := World(*each)).has_mixin or world.is_universal == bool(world.verbosity)
]


def right(world: World, methods: dict[str, Any], sources: Iterable[str], *, is_sync: bool) -> Any:
    """Return the right decision, or the exception that must come instead."""
    if not world.is_active:
        return False
    if world.is_superuser and not (world.is_universal and world.has_mixin):
        return True
    if not (world.model_level or world.is_superuser):
        return False
    asked = [methods[source] for source in sources if methods[source] is not None]
    for method in asked:
        if is_sync and method.form == "coroutine":
            return NotADecisionError
        if method.answer is True:
            return True
    return not asked


def outcome(ask: Callable[..., Any], *args: Any) -> Any:
    try:
        return ask(*args)
    except (NotADecisionError, reference.NotADecisionError):
        return NotADecisionError


class Judge:
    """Asks users of each world in the library, and in the reference."""

    def __init__(self, methods: dict[str, Any]) -> None:
        self.methods = methods
        self.gate = Gate.objects.create()
        self.keys = {}
        for kind, model_level in itertools.product((PlainUser, User), (False, True)):
            user = kind.objects.create(**{kind.USERNAME_FIELD: str(model_level)})
            user.user_permissions.set([permission(PERM)] * model_level)
            self.keys[kind, model_level] = user.pk

    def user(self, world: World) -> Any:
        kind = User if world.has_mixin else PlainUser
        key = self.keys[kind, world.model_level]
        return kind(pk=key, is_active=world.is_active, is_superuser=world.is_superuser)

    def in_reference(self, world: World, *, is_sync: bool) -> tuple[Any, Any]:
        user = person(is_async=not is_sync, **world._asdict())
        asks = {source: each and each.in_reference for source, each in self.methods.items()}
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
            for settings, worlds in itertools.groupby(WORLDS, key=lambda world: world[:2]):
                with override_settings(**dict(zip(SETTINGS, settings, strict=True))):
                    for world in worlds:
                        for case in cases(world, is_sync=is_sync):
                            yield world, *case

        for world, user, name, args, wanted in each_world(is_sync=True):
            assert repr(outcome(getattr(user, name), *args)) == repr(wanted), (world, name)
        async_to_sync(in_async)()


@pytest.fixture
def judge(db, access_methods, user_method, group_method) -> Judge:
    methods = {"user": user_method, "group": group_method}
    for source, method in methods.items():
        access_methods(Gate, **(method.written(source) if method else {}))
    return Judge(methods)


def of_each_kind(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, KINDS, ids=lambda kind: str(kind or "absent"))


@of_each_kind("user_method")
@of_each_kind("group_method")
def test_a_check_decides_as_the_reference_does(judge):
    def cases(world: World, *, is_sync: bool) -> Iterator[Any]:
        wanted = right(world, judge.methods, BOTH, is_sync=is_sync)
        user, obj = judge.in_reference(world, is_sync=is_sync)
        assert outcome(user.has_perm, PERM, obj) is wanted, world
        yield from [(judge.user(world), "has_perm", (PERM, judge.gate), wanted)] * 2

    judge.judge(cases)


SETS = {"user": ("user",), "group": ("group",), "all": BOTH}


@of_each_kind("user_method")
@of_each_kind("group_method")
def test_permission_sets_hold_what_the_reference_grants(judge):
    def cases(world: World, *, is_sync: bool) -> Iterator[Any]:
        for name, sources in SETS.items() if world.has_mixin and not world.verbosity else ():
            granted = right(world, judge.methods, sources, is_sync=is_sync)
            wanted = {True: {PERM}, False: set()}.get(granted, granted)
            user, obj = judge.in_reference(world, is_sync=is_sync)
            assert outcome(user.permissions, obj, sources) == wanted, world
            yield judge.user(world), f"get_{name}_permissions", (judge.gate,), wanted

    judge.judge(cases)


# The reference itself: nothing below touches the library or Django.


def person(
    *, model_level: bool = True, is_universal: bool = False, verbosity: int = 0, **flags: Any
) -> reference.User:
    held = {"user": {PERM} if model_level else set(), "group": set()}
    backends = [reference.ModelBackend(), reference.ObjectPermissionsBackend()]
    settings = reference.Settings(is_universal, verbosity, backends)
    return reference.User(settings, reference.Database({PERM}, held), **flags)


def gate(answer: Any = True, **about: Any) -> reference.Object:
    ask = answer if callable(answer) else lambda user: answer
    values = {"model": "Gate", "pk": 1375, "text": "the gate"} | about
    return reference.Object(**values, method=lambda source, _: ask if source == "user" else None)


def raising(error: type[Exception], *args: Any) -> Callable[[Any], Any]:
    def method(user: Any) -> Any:
        user.log("a reason")
        raise error(*args)

    return method


VETO = reference.PermissionDenied
REFUSED = [math.nan, math.inf, "no", [0], {"allowed": False}, iter(()), ..., lambda user: bool]


@pytest.mark.parametrize(
    ("answer", "granted"),
    [
        *((answer, True) for answer in (True, 1, -0.5)),
        *((answer, False) for answer in (False, None, 0, "", [], raising(VETO))),
        *((answer, NotADecisionError) for answer in REFUSED),
    ],
)
def test_the_reference_lists_what_grants(answer, granted):
    assert outcome(person().has_perm, PERM, gate(answer)) is granted


@pytest.mark.parametrize(
    ("other", "is_shared"),
    [({}, True)]
    + [({"pk": key}, False) for key in (1376, None, (1, None))]
    + [({"model": "Proxy"}, False), ({"alias": "b"}, False), ({"is_saved": False}, False)],
)
def test_the_reference_caches_one_decision_per_row_until_a_clear(other, is_shared):
    user = person()
    assert user.has_perm(PERM, gate(True))
    assert user.has_perm(PERM, gate(False, **other)) is is_shared
    user.is_active = False
    assert not user.has_perm(PERM, gate(True))
    user.is_active = True
    user.clear_perm_cache()
    assert user.has_perm(PERM, gate(lambda user: user.clear_perm_cache() or True))
    assert not user.has_perm(PERM, gate(False))


def test_a_check_that_enters_itself_raises_in_the_reference():
    again = gate(lambda user: user.has_perm(PERM, gate(lambda user: user.has_perm(PERM, again))))
    for verbosity in (0, 1, 2):
        with pytest.raises(reference.PermissionRecursionError):
            person(verbosity=verbosity).has_perm(PERM, again)


HEADER = f"Permission: {PERM}|User: user.name (54)|Object: the gate (1375)||"
UNIVERSAL = {"is_superuser": True, "is_universal": True}
IMPLICIT = "Active superuser: Implicit permission"
GRANTED, DENIED = ("\nRESULT: Permission Granted", "\nRESULT: Permission Denied")
MODEL_GRANTED, MODEL_DENIED = ("Model-level Result: Granted\n|", "Model-level Result: Denied\n|")


@pytest.mark.parametrize(
    ("flags", "method", "entries"),
    [
        ({}, True, f"{MODEL_GRANTED}{GRANTED}"),
        ({}, raising(VETO, "not yours"), f"{MODEL_GRANTED}a reason|not yours|{DENIED}"),
        ({"model_level": False}, True, f"{MODEL_DENIED}{DENIED}"),
        ({"is_superuser": True}, False, f"{IMPLICIT}|{GRANTED}"),
        (UNIVERSAL, False, f"{IMPLICIT} (model-level)|{MODEL_GRANTED}{DENIED}"),
        ({}, raising(ValueError), f"{MODEL_GRANTED}a reason|\nRESULT: Error (ValueError)"),
    ],
)
def test_the_reference_logs_checks(flags, method, entries):
    for verbosity, header in ((1, ""), (2, HEADER)):
        user = person(verbosity=verbosity, **flags)
        for _ in range(2):  # the second is cached
            try:
                user.has_perm(PERM, gate(method))
            except ValueError:
                assert set(user.memory) <= set(BOTH)
            log = user.get_log(f"auto-{PERM}-1375")
            assert "|".join(entry.text for entry in log) == header + entries
            assert {entry.text for entry in log if not entry.tags} <= {"a reason", "not yours"}
            assert not user.active
