"""The log of a check whose answer is known is that of a check that has to be made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from djem_async._cache import Decision, Record, permission_cache
from djem_async._warm import look_up

from djem_async import _warm
from djem_async._entries import Entry
from djem_async.access import nonblocking
from djem_async.logs import Loggable
from tests.testapp.models import OtherThing, Thing, User

if TYPE_CHECKING:
    from tests.conftest import Api

PERM = "testapp.use_thing"


def named(pk: int, name: str = "a thing") -> Thing:
    thing = Thing(pk=pk, name=name)
    thing._state.adding, thing._state.db = False, "default"
    return thing


@pytest.fixture(params=[1, 2])
def verbosity(request: pytest.FixtureRequest, settings: Any) -> int:
    settings.DJEM_PERM_LOG_VERBOSITY = request.param
    return int(request.param)


def told(user: User, *names: str) -> list[Any]:
    """Read logs, with their tags."""
    logs = [user.get_last_log(raw=True), *(user.get_log(name, raw=True) for name in names)]
    return [[(str(entry), entry.tags) for entry in log] for log in logs]


def explain(self: Any, user: User) -> bool:
    user.log("first", "second", tag="reason")
    user.log(f"about {self.pk}")
    return self.pk % 2 == 0


def groups_explain(self: Any, groups: Any) -> bool:
    explained[0].log("groups")
    return self.pk % 3 == 0


explained: list[User] = []

METHODS: dict[str, dict[str, Any]] = {
    "none": {},
    "silent": {"_user_can_use_thing": lambda self, user: self.pk % 2 == 0},
    "talking": {"_user_can_use_thing": explain},
    "in place": {"_user_can_use_thing": nonblocking(explain)},
    "groups": {"_group_can_use_thing": groups_explain},
    "both": {"_user_can_use_thing": explain, "_group_can_use_thing": groups_explain},
    "denying": {"_user_can_use_thing": lambda self, user: False},
}
STATES = ["ordinary", "without permission", "superuser", "universal superuser"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("methods", METHODS)
@pytest.mark.usefixtures("verbosity")
def test_a_known_answer_leaves_the_logs_of_a_check(
    api: Api, user: User, settings: Any, access_methods: Any, methods: str, state: str
) -> None:
    access_methods(Thing, **METHODS[methods])
    if state == "without permission":
        user.user_permissions.clear()
    user.is_superuser = "superuser" in state
    user.save()
    settings.DJEM_UNIVERSAL_OLP = "universal" in state
    for pk in (1, 2, 3, 6):
        user = User.objects.get(pk=user.pk)
        explained[:] = [user]
        names = [f"auto-{PERM}-{pk}"]
        if state != "superuser":
            names.append(f"auto-{PERM}")
        first = api(user).has_perm(PERM, named(pk)), told(user, *names)
        with mock.patch.object(_warm, "look_up", side_effect=AssertionError):
            # It is looked up where it is imported to, and no check is made.
            for _ in range(3):
                user.start_log("another")
                user.end_log()
                assert (look_up(user, PERM, named(pk)), told(user, *names)) == first
        assert (api(user).has_perm(PERM, named(pk)), told(user, *names)) == first


@pytest.mark.parametrize("state", STATES)
@pytest.mark.usefixtures("verbosity")
def test_a_known_answer_at_the_model_level_leaves_the_log_of_a_check(
    api: Api, user: User, settings: Any, state: str
) -> None:
    if state == "without permission":
        user.user_permissions.clear()
    user.is_superuser = "superuser" in state
    user.save()
    settings.DJEM_UNIVERSAL_OLP = "universal" in state
    user = User.objects.get(pk=user.pk)
    first = api(user).has_perm(PERM), told(user, f"auto-{PERM}")
    for _ in range(3):
        user.start_log("another")
        user.end_log()
        assert (look_up(user, PERM, None), told(user, f"auto-{PERM}")) == first


def test_a_log_left_active_by_a_user_that_is_no_more_is_in_nobodys_way(
    api: Api, user: User, settings: Any
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    assert api(user).has_perm(PERM)
    another = User()
    another.start_log("left active")
    assert look_up(user, PERM, None) is None
    del another
    assert look_up(user, PERM, None) is True


def test_a_log_that_is_repeated_tells_of_now(api: Api, user: User, settings: Any) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    for name in ("one", "another", "a third", "a fourth"):
        user.username = f"named {name}"
        assert api(user).has_perm(PERM, named(1, name))
        assert told(user)[0][:3] == [
            (f"Permission: {PERM}", ("auto",)),
            (f"User: named {name} ({user.pk})", ("auto",)),
            (f"Object: {name} (1)", ("auto",)),
        ]


def test_a_log_is_kept_as_it_was(api: Api, user: User, settings: Any) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    thing = named(1, "before")
    for _ in range(2):
        assert api(user).has_perm(PERM, thing)
    thing.name = "after"
    user.username = "someone else"
    assert "Object: before (1)" in user.get_last_log()
    assert "User: user.name" in user.get_last_log()


class Key:
    """Equal to others that are written otherwise."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and other.text.lower() == self.text.lower()

    def __hash__(self) -> int:
        return hash(self.text.lower())

    def __str__(self) -> str:
        return self.text


@pytest.mark.usefixtures("verbosity")
def test_each_of_several_checks_has_its_own_log(api: Api, user: User, access_methods: Any) -> None:
    """Whichever was the latest, and also where keys are equal but not the same."""

    def explain(self: Any, user: User) -> bool:
        user.log(str(self.pk).lower())
        return True

    access_methods(Thing, _user_can_use_thing=explain)
    things = [named(pk) for pk in (1, 2, Key("A"), Key("a"))]  # type: ignore[arg-type]
    has_perm = api(user).has_perm
    for _ in range(3):
        for thing in (*things, *things[::-1]):
            name = f"auto-{PERM}-{thing.pk}"
            user._log_store = None  # type: ignore[attr-defined]
            assert has_perm(PERM, thing)
            assert str(thing.pk).lower() in user.get_last_log().splitlines()
            assert user.get_log(name) == user.get_last_log()
    assert look_up(user, PERM, things[0]) is True


@pytest.mark.usefixtures("verbosity")
def test_another_decision_has_another_log(api: Api, user: User, access_methods: Any) -> None:
    access_methods(Thing, _user_can_use_thing=explain)
    thing, has_perm = named(2), api(user).has_perm
    assert [has_perm(PERM, thing) for _ in range(3)] == [True] * 3
    shortcut = permission_cache(user).generation.trust.find(PERM, Thing, "default")
    assert shortcut is not None
    entries = (Entry("something else"),)
    shortcut.table[thing.pk] = Record(
        Decision(granted=False, entries=entries), None, False, entries
    )
    for _ in range(2):
        assert look_up(user, PERM, thing) is False
        assert "something else" in user.get_last_log()
        assert user.get_last_log().endswith("RESULT: Permission Denied")


@pytest.mark.parametrize("name", ["end_log", "aend_log", "log"])
@pytest.mark.parametrize("on", ["class", "instance", "Loggable"])
@pytest.mark.parametrize("obj", [None, named(1)])
@pytest.mark.usefixtures("verbosity")
def test_an_override_hears_of_every_check(
    api: Api, user: User, monkeypatch: pytest.MonkeyPatch, name: str, on: str, obj: Any
) -> None:
    for _ in range(2):
        assert api(user).has_perm(PERM, obj)
    calls: list[str] = []
    original = getattr(Loggable, name)

    def override(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return original(self, *args, **kwargs)

    if on != "instance":
        monkeypatch.setattr(Loggable if on == "Loggable" else type(user), name, override)
    else:
        vars(user)[name] = override.__get__(user)
    is_called = name != "aend_log" or api.mode == "async"
    for _ in range(2):
        calls.clear()
        assert api(user).has_perm(PERM, obj)
        assert bool(calls) is is_called


@pytest.mark.usefixtures("verbosity")
def test_a_check_within_a_log_leaves_it_alone(api: Api, user: User) -> None:
    for _ in range(3):
        user.start_log("mine")
        user.log("before")
        assert api(user).has_perm(PERM)
        assert api(user).has_perm(PERM, named(1))
        user.log("after")
        assert user.end_log() == ("mine", ["before", "after"])


@pytest.mark.usefixtures("verbosity")
def test_a_check_in_an_access_method_has_a_log_of_its_own(
    api: Api, user: User, access_methods: Any
) -> None:
    def ask_further(self: Any, user: User) -> bool:
        granted = user.has_perm(PERM, other)
        user.log(*user.get_last_log(raw=True))
        return granted

    other = OtherThing(pk=7, name="other")
    other._state.adding, other._state.db = False, "default"
    access_methods(Thing, _user_can_use_thing=ask_further)
    access_methods(OtherThing, _user_can_use_thing=lambda self, user: user.log("why"))
    assert not api(user).has_perm(PERM, other)
    inner = user.get_last_log()
    for pk in (1, 2, 1):
        assert not api(user).has_perm(PERM, named(pk))
        outer = user.get_last_log()
        assert outer != inner
        assert inner in outer


@pytest.mark.usefixtures("verbosity")
def test_lines_that_are_not_of_access_methods_are_logged_each_time(
    api: Api, user: User, access_methods: Any
) -> None:
    looks: list[str] = []

    def look(self: Any) -> Any:
        looks.append(f"look {len(looks)}")
        user.log(looks[-1])
        return lambda user: True

    access_methods(Thing, _user_can_use_thing=property(look))
    for _ in range(3):
        looks_before = len(looks)
        assert api(user).has_perm(PERM, named(1))
        assert looks[looks_before:]
        logged = [str(entry) for entry in user.get_last_log(raw=True)]
        assert [line for line in logged if line.startswith("look")] == looks[looks_before:]


@pytest.mark.parametrize("tag", [None, "auto"])
@pytest.mark.parametrize("state", ["ordinary", "superuser"])
@pytest.mark.usefixtures("verbosity")
def test_what_is_logged_while_an_object_is_looked_at_is_in_no_other_log(
    api: Api, user: User, access_methods: Any, tag: str | None, state: str
) -> None:
    def look(self: Any) -> Any:
        user.log(f"secret of {self.pk}", tag=tag)
        return lambda user: True

    user.is_superuser = state == "superuser"
    access_methods(Thing, _user_can_use_thing=property(look))
    for pk in (1, 2, 1, 2):
        assert api(user).has_perm(PERM, named(pk))
        assert f"secret of {3 - pk}" not in user.get_last_log()


@pytest.mark.parametrize("obj", [None, named(1)])
@pytest.mark.parametrize("tag", [None, "auto"])
@pytest.mark.parametrize("is_superuser", [False, True])
@pytest.mark.usefixtures("verbosity")
def test_what_a_flag_of_the_user_logs_is_logged_each_time(
    api: Api,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
    obj: Any,
    tag: str | None,
    is_superuser: bool,
) -> None:
    count = 0

    def is_active(self: Any) -> bool:
        nonlocal count
        count += 1
        if logging:
            user.log(f"looked {count}", tag=tag)
        return True

    logging = False
    monkeypatch.setattr(User, "is_active", property(is_active))
    user.is_superuser = is_superuser
    logs: list[str] = []
    for _ in range(4):
        user.start_log("outer")
        logging = True
        assert api(user).has_perm(PERM, obj)
        logging = False
        user.end_log()
        logs.append(user.get_log(f"auto-{PERM}" if obj is None else f"auto-{PERM}-1"))
    looks = [[line for line in log.splitlines() if line.startswith("looked")] for log in logs]
    assert all(looks)
    flat = [line for each in looks for line in each]
    assert len(set(flat)) == len(flat)


def test_a_text_that_needs_a_query_is_asked_for_where_queries_may_be_made(
    api: Api, user: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    refusals = []

    def text(self: Any) -> str:
        from asyncio import get_running_loop

        try:
            get_running_loop()
        except RuntimeError:
            return "from the database"
        refusals.append(1)
        raise SynchronousOnlyOperation

    monkeypatch.setattr(Thing, "__str__", text)
    for number in (1, 2, 3):
        assert api(user).has_perm(PERM, named(1))
        assert "Object: from the database (1)" in user.get_last_log()
        if api.mode == "async":
            assert len(refusals) >= number


def test_an_error_in_the_text_is_one_of_each_check(
    api: Api, user: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    assert api(user).has_perm(PERM, named(1))

    def fail(self: Any) -> str:
        raise ValueError("no text")

    monkeypatch.setattr(Thing, "__str__", fail)
    for _ in range(2):
        with pytest.raises(ValueError, match="no text"):
            api(user).has_perm(PERM, named(1))
        assert told(user)[0] == [("\nRESULT: Error (ValueError)", ("auto",))]


@pytest.mark.usefixtures("verbosity")
def test_what_is_logged_follows_the_setting(api: Api, user: User, settings: Any) -> None:
    for verbosity in (1, 2, 1, 0, 2):
        settings.DJEM_PERM_LOG_VERBOSITY = verbosity
        for _ in range(2):
            user.start_log("none")
            user.end_log()
            assert api(user).has_perm(PERM, named(1))
            log = told(user)[0]
            assert len(log) == {0: 0, 1: 2, 2: 6}[verbosity]


def test_databases_have_answers_of_their_own(
    api: Api, user: User, settings: Any, access_methods: Any
) -> None:
    access_methods(
        Thing, _user_can_use_thing=nonblocking(lambda self, user: self._state.db == "other")
    )
    things = [named(1), named(1)]
    things[1]._state.db = "other"
    for _ in range(3):
        for thing in things:
            assert api(user).has_perm(PERM, thing) is (thing._state.db == "other")
    assert [look_up(user, PERM, thing) for thing in things] == [False, True]


def test_a_known_model_level_is_a_part_of_the_log_of_an_object(
    api: Api, user: User, settings: Any
) -> None:
    settings.DJEM_UNIVERSAL_OLP, settings.DJEM_PERM_LOG_VERBOSITY = True, 1
    user.is_superuser = True
    for _ in range(2):
        assert api(user).has_perm(PERM)
    assert look_up(user, PERM, None) is True
    assert api(user).has_perm(PERM, named(1))
    assert user.get_last_log().splitlines()[:2] == [
        "Active superuser: Implicit permission (model-level)",
        "Model-level Result: Granted",
    ]


class AsksOfAnother:
    """Grants on one object, and on others what it grants on that."""

    def has_perm(self, user_obj: User, perm: str, obj: Any = None) -> bool:
        return obj is another or (obj is not None and user_obj.has_perm(perm, another))


another = named(7, "another")


def test_a_check_of_an_object_inside_that_of_another_has_a_log_of_its_own(
    user: User, settings: Any
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    settings.AUTHENTICATION_BACKENDS = [
        f"{__name__}.AsksOfAnother",
        "djem_async.auth.ObjectPermissionsBackend",
    ]
    assert user.has_perm(PERM, OtherThing(pk=1))
    log = user.get_log(f"auto-{PERM}-7")
    assert log.startswith(f"Permission: {PERM}\nUser: {user} ({user.pk})\nObject: another (7)\n")
