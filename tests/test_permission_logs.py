"""Tests of the logs that permission checks make by themselves, entry for entry."""

import asyncio
import enum
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import PermissionDenied
from django.db.models.base import ModelBase
from django.utils.asyncio import async_unsafe
from django.utils.functional import SimpleLazyObject

from djem_async.exceptions import PermissionRecursionError
from djem_async.logs import Entry, Loggable
from tests.conftest import PERM, Api, assert_nothing_active, grant, known_user, stored
from tests.testapp.models import CompositeThing, Thing, User

Lines = list[tuple[str, tuple[str, ...]]]


def auto(*lines: str) -> Lines:
    return [(line, ("auto",)) for line in lines]


def plain(*lines: str) -> Lines:
    return [(line, ()) for line in lines]


GRANTED = auto("\nRESULT: Permission Granted")
DENIED = auto("\nRESULT: Permission Denied")
ERROR = auto("\nRESULT: Error (ValueError)")
CANCELLED = auto("\nRESULT: Error (CancelledError)")
MODEL_GRANTED = auto("Model-level Result: Granted\n")
MODEL_DENIED = auto("Model-level Result: Denied\n")
SUPERUSER = auto("Active superuser: Implicit permission")
UNIVERSAL = auto("Active superuser: Implicit permission (model-level)")


def log_of(user: Loggable, name: str | None = None) -> Lines:
    raw = user.get_last_log(raw=True) if name is None else user.get_log(name, raw=True)
    return [(str(entry), entry.tags) for entry in raw]


def deciding(answer: object, *lines: str, is_async: bool = False) -> Any:
    """Make an access method that logs lines, and returns or raises an answer."""

    def decide(obj: Any, user: Any) -> object:
        user.log(*lines)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def adecide(obj: Any, user: Any) -> object:
        await asyncio.sleep(0)
        return decide(obj, user)

    return adecide if is_async else decide


@dataclass
class Bench:
    """A user who has the permission at the model level, and is checked through one API."""

    api: Api
    user: User
    thing: Thing
    verbosity: int
    access_methods: Callable[..., None]

    def asks(self, method: Any) -> None:
        self.access_methods(Thing, _user_can_use_thing=method)

    def has_perm(self, obj: Any = None, perm: str = PERM) -> Any:
        return self.api(self.user).has_perm(perm, obj)

    def header(self, obj: Any = None, perm: str = PERM) -> Lines:
        about_object = [] if obj is None else [f"Object: {obj} ({obj.pk})"]
        lines = [f"Permission: {perm}", f"User: user.name ({self.user.pk})", *about_object, ""]
        return auto(*lines) if self.verbosity > 1 else []

    def lines(self, *parts: Lines, obj: Any = None, perm: str = PERM) -> Lines:
        """Return what the log of a check holds that has passed the model level."""
        header = self.header(self.thing if obj is None else obj, perm)
        return header + MODEL_GRANTED + [line for part in parts for line in part]

    def load_user(self, **methods: Any) -> User:
        """Load the user anew, as one of a subclass with these methods."""
        self.user = User.objects.get(pk=self.user.pk)
        self.user.__class__ = type.__new__(ModelBase, "Audited", (User,), methods)
        return self.user


@pytest.fixture(params=[1, 2])
def bench(
    request: Any, settings: Any, api: Api, user: User, thing: Thing, access_methods: Any
) -> Bench:
    settings.DJEM_PERM_LOG_VERBOSITY = request.param
    return Bench(api, user, thing, request.param, access_methods)


# What is in the log of the model level, and in that of an object before a method is asked.
STATES: dict[str, tuple[Lines, Lines]] = {
    "ordinary": (GRANTED, MODEL_GRANTED),
    "without permission": (DENIED, MODEL_DENIED + DENIED),
    "inactive": (DENIED, MODEL_DENIED + DENIED),
    "superuser": (SUPERUSER + GRANTED, SUPERUSER + GRANTED),
    "inactive superuser": (DENIED, MODEL_DENIED + DENIED),
    "universal": (GRANTED, MODEL_GRANTED),
    "universal superuser": (UNIVERSAL + GRANTED, UNIVERSAL + MODEL_GRANTED),
}
ANSWERS: list[tuple[object, Lines]] = [
    (True, plain("asked") + GRANTED),
    (False, plain("asked", "groups") + DENIED),
    (PermissionDenied(), plain("asked", "groups") + DENIED),
    (PermissionDenied("why"), plain("asked", "why", "groups") + DENIED),
    (ValueError("wrong"), plain("asked") + ERROR),
    (asyncio.CancelledError(), plain("asked") + CANCELLED),
    (None, GRANTED),  # there is no access method
]


@pytest.mark.parametrize(("answer", "of_method"), ANSWERS, ids=lambda value: repr(value)[:25])
@pytest.mark.parametrize("state", STATES)
def test_entries_of_checks(
    bench: Bench, settings: Any, state: str, answer: object, of_method: Lines
) -> None:
    settings.DJEM_UNIVERSAL_OLP = "universal" in state
    user, thing, name = bench.user, bench.thing, f"auto-{PERM}"
    user.is_active, user.is_superuser = "inactive" not in state, "superuser" in state
    if user.is_superuser or state == "without permission":
        user.user_permissions.clear()
    of_model_level, of_object = STATES[state]
    expected = bench.header(thing) + of_object
    expected += of_method if of_object[-1:] == MODEL_GRANTED else []
    for is_async in (False, True):
        if answer is not None:
            bench.asks(deciding(answer, "asked", is_async=is_async))
            bench.access_methods(Thing, _group_can_use_thing=lambda *args: user.log("groups"))
        user.clear_perm_cache()
        for _ in range(2):  # the second is answered from the cache
            if expected[-1:] in (ERROR, CANCELLED):
                with pytest.raises(type(answer)):
                    bench.has_perm(thing)
            else:
                assert bench.has_perm(thing) is (expected[-1:] == GRANTED)
            assert log_of(user) == log_of(user, f"{name}-{thing.pk}") == expected
            if state != "superuser":  # the model-level check inside leaves its own log
                assert log_of(user, name) == of_model_level
            assert_nothing_active(user)
    for _ in range(2):
        assert bench.has_perm() is (of_model_level[-1:] == GRANTED)
        assert log_of(user) == log_of(user, name) == bench.header() + of_model_level


@pytest.mark.parametrize(
    ("obj", "perm", "pk"),
    [
        (Thing(pk=1375), PERM, "1375"),
        (Thing(name="unsaved"), PERM, "None"),
        (CompositeThing(1, 2), "testapp.view_compositething", "(1, 2)"),
        (Thing(pk=1375), enum.StrEnum("Perms", {"USE": PERM}).USE, "1375"),
    ],
)
def test_log_is_named_by_permission_and_key(bench: Bench, obj: Any, perm: str, pk: str) -> None:
    bench.access_methods(type(obj), __bool__=lambda self: False)  # falsy, but an object
    user = bench.user = grant(bench.user, perm)
    assert bench.has_perm(obj, perm) is True
    assert log_of(user) == bench.lines(GRANTED, obj=obj, perm=str(perm))
    assert log_of(user, f"auto-{perm!s}-{pk}") == log_of(user)


@pytest.mark.parametrize("obj", [object, 0.5, SimpleLazyObject(lambda: None)], ids=repr)
@pytest.mark.parametrize("state", ["without permission", "superuser", "universal superuser"])
def test_warm_check_of_no_model_instance_answers_and_logs_as_the_cold_one(
    bench: Bench, settings: Any, state: str, obj: Any
) -> None:
    settings.DJEM_UNIVERSAL_OLP = "universal" in state
    bench.user.is_superuser = "superuser" in state
    cold = bench.has_perm(obj, "testapp.view_thing"), log_of(bench.user)
    assert cold[0] is (state == "superuser")
    bench.has_perm()
    assert (bench.has_perm(obj, "testapp.view_thing"), log_of(bench.user)) == cold


@pytest.mark.parametrize("name", ["mine", f"auto-{PERM}", f"auto-{PERM}-{{}}"])
def test_own_log_is_left_alone_whatever_its_name(bench: Bench, name: str) -> None:
    bench.asks(deciding(False, "asked"))
    thing, user, name = bench.thing, bench.user, name.format(bench.thing.pk)
    user.start_log(name)
    user.log("before")
    for check in (bench.has_perm, bench.has_perm, bench.api(user).get_all_permissions):
        check(thing)
        assert log_of(user, f"auto-{PERM}-{thing.pk}") == bench.lines(plain("asked"), DENIED)
        with pytest.raises(ValueError, match="already active"):
            user.start_log(name)
    user.log("after")
    assert user.end_log() == (name, ["before", "after"])
    assert_nothing_active(user)


@pytest.mark.parametrize("error", [None, ValueError("wrong")])
def test_a_log_that_an_access_method_leaves_active_is_dropped(bench: Bench, error: Any) -> None:
    def decide(obj: Thing, user: User) -> bool:
        with pytest.raises(ValueError, match="already active"):
            user.start_log(f"auto-{PERM}-{obj.pk}")
        user.log("asked")
        user.start_log("left")
        user.log("lost")
        if error:
            raise error
        return False

    bench.asks(decide)
    bench.user.start_log("mine")
    with suppress(ValueError):
        assert bench.has_perm(bench.thing) is False
    assert log_of(bench.user) == bench.lines(plain("asked"), ERROR if error else DENIED)
    assert bench.user.end_log() == ("mine", [])
    assert_nothing_active(bench.user)


@pytest.mark.parametrize("end", [User.end_log, User.discard_log])
def test_an_access_method_cannot_end_the_log_of_its_check_or_of_the_caller(
    bench: Bench, end: Callable[[User], object]
) -> None:
    def decide(obj: Thing, user: User) -> bool:
        with pytest.raises(KeyError, match="No active log to"):
            end(user)
        return False

    bench.asks(decide)
    bench.user.start_log("mine")
    assert bench.has_perm(bench.thing) is False
    assert log_of(bench.user) == bench.lines(DENIED)
    assert bench.user.end_log() == ("mine", [])


def test_checks_inside_an_access_method_have_logs_of_their_own(bench: Bench) -> None:
    user, other = bench.user, grant(User.objects.create_user("other"), PERM)
    outer, inner, failing = (Thing(name=name) for name in ("outer", "inner", "failing"))

    def decide(obj: Thing, asking: User) -> bool:
        asking.log(f"{obj} before")
        if obj is failing:
            raise ValueError("wrong")
        if obj is outer:
            assert asking.has_perm(PERM)
            asking.has_perm(PERM, inner)  # its log has the same name
            asking.log(*asking.get_last_log(raw=True))
            with pytest.raises(ValueError, match="wrong"):
                other.has_perm(PERM, failing)
        asking.log(f"{obj} after")
        return obj is outer

    bench.asks(decide)
    assert bench.has_perm(outer) is True
    of_inner = bench.lines(plain("inner before", "inner after"), DENIED, obj=inner)
    logged = plain("outer before", *(line for line, _ in of_inner), "outer after")
    assert log_of(user) == bench.lines(logged, GRANTED, obj=outer)
    assert log_of(other)[-2:] == plain("failing before") + ERROR


@pytest.mark.parametrize("message", [[], ["why"]])
def test_logging_off_leaves_no_logs(bench: Bench, settings: Any, message: list[str]) -> None:
    def decide(obj: Thing, user: User) -> bool:
        user.log("asked", *user.get_last_log(raw=True))  # of an inner check, had it a log
        raise PermissionDenied(*message)

    settings.DJEM_PERM_LOG_VERBOSITY = 0
    bench.asks(decide)
    for _ in range(2):
        assert bench.has_perm(bench.thing) is False
        assert bench.has_perm() is True
        assert_nothing_active(bench.user)
    with pytest.raises(KeyError, match="No finished logs"):
        bench.user.get_last_log()
    bench.user.start_log("mine")
    bench.has_perm(bench.thing)
    bench.user.clear_perm_cache()
    bench.has_perm(bench.thing)
    assert bench.user.end_log() == ("mine", ["asked", *message] * 2)


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_cached_lines_are_replayed(bench: Bench, settings: Any, verbosity: int) -> None:
    def decide(obj: Thing, user: User) -> bool:
        user.log("asked", tag="mine")
        user.log(f"about {obj.name}")
        return False

    thing, user = bench.thing, bench.user
    bench.asks(decide)
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user.get_all_permissions(thing)  # sync, which async checks find as well
    settings.DJEM_PERM_LOG_VERBOSITY = bench.verbosity
    asked: Lines = [("asked", ("mine",))]
    for line, name in (("a thing", "new"), ("a thing", "newer"), ("cleared", "cleared")):
        thing.name = name
        if name == "cleared":
            user.clear_perm_cache()
        assert bench.has_perm(thing) is False
        expected = bench.lines(asked, plain(f"about {line}"), DENIED)  # with the name of now
        thing.name = "renamed after the check"
        assert log_of(user) == expected


def veto(user: User, obj: Any) -> bool:
    raise PermissionDenied


class Other:
    answer: Any = None

    def has_perm(self, user: Any, perm: str, obj: Any = None) -> bool:
        return bool(type(self).answer(user, obj))


ORDINARY = (MODEL_GRANTED + plain("asked") + GRANTED, GRANTED)
DIVIDED = auto("\nRESULT: Error (ZeroDivisionError)")


@pytest.mark.parametrize(
    ("answer", "of_object", "of_model_level"),
    [
        (veto, DENIED, []),
        (lambda user, obj: True, GRANTED, []),
        (lambda user, obj: obj is None and 1 / 0, DIVIDED, DIVIDED),
        (lambda user, obj: obj is None and user.start_log("left"), *ORDINARY),
        (lambda user, obj: obj is not None and user.has_perm("testapp.add_thing"), *ORDINARY),
        (
            lambda user, obj: user.log(f"of {obj}"),
            plain("of a thing", "of None") + ORDINARY[0],
            plain("of None") + GRANTED,
        ),
    ],
)
def test_entries_with_another_backend(
    bench: Bench, settings: Any, answer: Any, of_object: Lines, of_model_level: Lines
) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Other", *settings.AUTHENTICATION_BACKENDS]
    bench.access_methods(Other, answer=answer)
    bench.asks(deciding(True, "asked"))
    bench.user.start_log("mine")
    for _ in range(2):
        with suppress(ZeroDivisionError):
            assert bench.has_perm(bench.thing) is (of_object[-1:] == GRANTED)
        assert log_of(bench.user) == bench.header(bench.thing) + of_object
        if of_model_level:
            assert log_of(bench.user, f"auto-{PERM}") == of_model_level
    assert bench.user.end_log() == ("mine", [])


def test_model_level_that_a_backend_asks_for_is_logged_once(bench: Bench, settings: Any) -> None:
    settings.DJEM_UNIVERSAL_OLP = bench.user.is_superuser = True
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Other", *settings.AUTHENTICATION_BACKENDS]
    bench.access_methods(Other, answer=lambda user, obj: obj and not user.has_perm(PERM))
    bench.asks(deciding(True, "asked"))
    of_object = UNIVERSAL + MODEL_GRANTED + plain("asked") + GRANTED
    for _ in range(2):
        assert bench.has_perm(bench.thing) is True
        assert log_of(bench.user) == bench.header(bench.thing) + of_object


def test_context_that_outlives_an_access_method_writes_nowhere(bench: Bench) -> None:
    contexts: list[Context] = []
    bench.asks(lambda self, user: contexts.append(copy_context()))
    for _ in range(2):
        assert bench.has_perm(bench.thing) is False
        contexts[0].run(bench.user.log, "late")
        assert log_of(bench.user) == bench.lines(DENIED)


def test_context_that_outlives_a_check_cannot_end_its_log(bench: Bench, settings: Any) -> None:
    contexts: list[Context] = []
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Other"]
    bench.access_methods(Other, answer=lambda user, obj: contexts.append(copy_context()))
    assert bench.has_perm() is False
    with pytest.raises(KeyError, match="No active log to finish"):
        contexts[0].run(bench.user.end_log)


def test_text_of_an_object_is_needed_at_verbosity_2_and_may_query_or_fail(bench: Bench) -> None:
    bench.access_methods(Thing, __str__=lambda self: f"1/{1 // Thing.objects.count()}")
    bench.asks(deciding(True))
    assert bench.has_perm(bench.thing) is True
    assert ("Object: 1/1 (" in bench.user.get_last_log()) is (bench.verbosity == 2)
    Thing.objects.all().delete()
    with suppress(ZeroDivisionError):
        assert bench.has_perm(bench.thing) is (bench.verbosity == 1)
    assert log_of(bench.user)[-1:] == (DIVIDED if bench.verbosity == 2 else GRANTED)
    assert_nothing_active(bench.user)


def test_text_of_an_object_is_asked_for_once_by_each_check(bench: Bench) -> None:
    texts: list[Any] = []
    bench.access_methods(Thing, __str__=lambda self: f"{texts.append(self)}")
    bench.asks(deciding(True))
    for number in (1, 2):
        assert bench.has_perm(bench.thing) is True
        assert len(texts) == number * (bench.verbosity == 2)


def test_text_of_an_object_that_checks_itself_is_refused(bench: Bench) -> None:
    bench.access_methods(Thing, __str__=lambda self: f"{bench.user.has_perm(PERM, self)}")
    if bench.verbosity == 1:
        assert bench.has_perm(bench.thing) is True
    else:
        with pytest.raises(PermissionRecursionError, match=PERM):
            bench.has_perm(bench.thing)
    assert_nothing_active(bench.user)


@pytest.mark.parametrize("name", ["get_all_permissions", "get_user_permissions"])
def test_permission_sets_log_the_model_level_only(bench: Bench, name: str, settings: Any) -> None:
    user, get = bench.user, getattr(bench.api(bench.user), name)
    bench.asks(deciding(True, "asked"))
    assert PERM in get()
    with pytest.raises(KeyError, match="No finished logs"):
        user.get_last_log()
    user.start_log("mine")
    assert get(bench.thing) == {PERM}
    assert log_of(user, f"auto-{PERM}")[-1:] == GRANTED
    assert log_of(user, "auto-testapp.add_thing")[-1:] == DENIED
    bench.asks(deciding(ValueError("wrong"), "asked"))
    for settings.DJEM_PERM_LOG_VERBOSITY in (bench.verbosity, 0):
        user.clear_perm_cache()
        with pytest.raises(ValueError, match="wrong"):
            get(bench.thing)
    with pytest.raises(KeyError):
        user.get_log(f"auto-{PERM}-{bench.thing.pk}")
    assert user.end_log() == ("mine", [])
    assert_nothing_active(user)


def log(user: Any, *lines: str, tag: str | None = None) -> None:
    user.heard += lines
    Loggable.log(user, *lines, tag=tag)


def save(user: Any) -> tuple[str, list[Entry]]:
    name, entries = Loggable.end_log(user)
    if "add_thing" not in name:
        assert user.has_perm("testapp.add_thing") is False
    Thing.objects.create(name=name)
    return name, entries


async def asave(user: Any) -> tuple[str, list[Entry]]:
    name, entries = await Loggable.aend_log(user)
    if "add_thing" not in name:
        assert await user.ahas_perm("testapp.add_thing") is False
    await Thing.objects.acreate(name=name)
    return name, entries


@pytest.mark.parametrize("methods", [{}, {"end_log": save}, {"end_log": save, "aend_log": asave}])
@pytest.mark.parametrize("answer", [False, ValueError("wrong")])
def test_overridden_methods_are_called(bench: Bench, methods: Any, answer: Any) -> None:
    user: Any = bench.load_user(log=log, **methods)
    bench.asks(deciding(answer, "asked"))
    names, result = [f"auto-{PERM}", f"auto-{PERM}-{bench.thing.pk}"], ERROR if answer else DENIED
    for _ in range(2):
        user.heard = []
        with suppress(ValueError):
            assert bench.has_perm(bench.thing) is False
        assert result[0][0] in user.heard
        assert log_of(user, names[1]) == bench.lines(plain("asked"), result)
        assert_nothing_active(user)
    saved = [thing.name for thing in Thing.objects.order_by("pk") if "auto" in thing.name]
    assert saved[::2] == ["auto-testapp.add_thing"] * 4 * bool(methods)
    assert saved[1::2] == names * 2 * bool(methods)


@pytest.mark.parametrize(
    "end_log",
    [
        lambda user: Loggable.end_log(user) and 1 / 0,
        lambda user: 1 / 0,
        lambda user: user.discard_log(),
        lambda user: None,
    ],
)
def test_overridden_end_log_leaves_no_log_active(bench: Bench, end_log: Any) -> None:
    user = bench.load_user(end_log=end_log)
    user.start_log("mine")
    for answer in (True, ValueError("wrong")):
        bench.asks(deciding(answer, "asked"))
        user.clear_perm_cache()
        for obj in (None, bench.thing):
            with suppress(ZeroDivisionError, ValueError):
                assert bench.has_perm(obj) is True
    assert Loggable.end_log(user) == ("mine", [])
    assert_nothing_active(user)


@pytest.mark.parametrize("api", ["async"], indirect=True)
@pytest.mark.parametrize("where", ["access method", "aend_log"])
def test_cancelled_check_leaves_no_log_active(bench: Bench, where: str) -> None:
    async def cancel(*args: Any) -> Any:
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        await asyncio.Event().wait()

    async def check() -> None:
        with pytest.raises(asyncio.CancelledError):
            await user.ahas_perm(PERM, bench.thing)
        assert_nothing_active(user)

    user = bench.load_user(**({"aend_log": cancel} if where == "aend_log" else {}))
    bench.asks(cancel)
    async_to_sync(check)()
    if where == "access method":
        assert log_of(user) == bench.lines(CANCELLED)


class EndsTheLog:
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return user_obj.end_log() is not None


def test_log_that_a_backend_has_ended_is_not_ended_again(api, user, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.EndsTheLog"]
    user.start_log("outer")
    assert api(user).has_perm(PERM) is True
    assert user.get_log(f"auto-{PERM}", raw=True) == []
    assert user.end_log() == ("outer", [])


async def test_warm_log_of_an_object_whose_text_is_a_query(settings, monkeypatch):
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    user, thing = known_user(), stored()
    monkeypatch.setattr(Thing, "_user_can_use_thing", lambda *_: True, raising=False)
    monkeypatch.setattr(Thing, "__str__", refuse_on_the_event_loop)
    for thing.name in ("cold", "warm"):
        assert await user.ahas_perm(PERM, thing) is True
        assert user.get_last_log(raw=True)[2] == f"Object: {thing.name} (1)"


@async_unsafe
def refuse_on_the_event_loop(thing: Thing) -> str:
    return thing.name
