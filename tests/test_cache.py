"""The permission cache: what is kept, for what, and for how long."""

import copy
import pickle
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from enum import IntEnum
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import PermissionDenied
from django.test.utils import isolate_apps

from djem_async import _cache, _owned
from djem_async._cache import (
    Decision,
    Generation,
    ObjectKey,
    PermissionCache,
    Record,
    Shortcut,
    Trust,
    keep_sole,
    object_key,
    permission_cache,
    shared_record,
)
from djem_async._entries import Entry
from djem_async.auth import ObjectPermissionsBackend
from tests.conftest import grant, permission
from tests.testapp.models import CompositeThing, OtherThing, PlainUser, SpecialThing, Thing, User
from tests.testapp.models import ThingProxy as Proxy

pytestmark = pytest.mark.usefixtures("learns")

PERM = "testapp.use_thing"
DJANGOS = ("_perm_cache", "_user_perm_cache", "_group_perm_cache")


class Method:
    """An access method that counts its calls, as an attribute of a class."""

    def __init__(self, answer: Any = True) -> None:
        self.answer = answer
        self.calls: list[Any] = []

    def __get__(self, obj: Any, owner: type) -> Any:
        return lambda argument: self.ask(obj, argument)

    def ask(self, obj: Any, argument: Any) -> Any:
        self.calls.append(obj)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def method(access_methods):
    method = Method()
    access_methods(Thing, _user_can_use_thing=method)
    return method


# Keys


def saved(model: Any, alias: str | None = "default", **fields: Any) -> Any:
    obj = model(**fields)
    obj._state.adding, obj._state.db = False, alias
    return obj


def test_a_key_is_the_class_the_database_and_the_primary_key():
    assert object_key(saved(Thing, pk=1)) == (Thing, "default", int, 1)
    assert object_key(saved(Thing, pk=1, name="changed")) == (Thing, "default", int, 1)
    key = object_key(saved(CompositeThing, tenant=1, number=2))
    assert key == (CompositeThing, "default", (int, int), (1, 2))


@pytest.mark.parametrize("pk", [True, 1.0, Decimal(1), IntEnum("One", ["ONE"]).ONE, (1, True)])
def test_a_primary_key_that_may_equal_that_of_another_row_is_none(pk):
    obj = saved(Thing, pk=1)
    obj.id = pk
    assert object_key(obj) is None


@pytest.mark.parametrize("pk", ["1", b"1", UUID(int=1), date(2026, 1, 1)])
def test_the_type_of_a_primary_key_is_a_part_of_the_key(pk):
    obj = saved(Thing, pk=pk)
    assert object_key(obj) == (Thing, "default", type(pk), pk)


def test_the_class_is_the_one_that_the_object_is_of(thing):
    with isolate_apps("tests.testapp"):

        class Liar(Thing):
            class Meta:
                proxy = True
                app_label = "testapp"

            __class__ = Thing

    liar = saved(Liar, pk=thing.pk)
    assert object_key(liar) == (Liar, "default", int, thing.pk)


DISTINCT = [
    lambda: saved(Thing, pk=1),
    lambda: saved(Thing, pk=2),
    lambda: saved(Thing, pk=1, alias="other"),
    lambda: saved(Proxy, pk=1),
    lambda: saved(SpecialThing, pk=1),
    lambda: saved(OtherThing, pk=1),
    lambda: saved(CompositeThing, tenant=1, number=1),
    lambda: saved(CompositeThing, tenant=1, number=2),
    lambda: saved(CompositeThing, tenant=2, number=1),
]


def test_different_objects_have_different_keys():
    assert len({object_key(make()) for make in DISTINCT}) == len(DISTINCT)
    assert None not in {object_key(make()) for make in DISTINCT}


@pytest.mark.parametrize(
    "obj",
    [
        Thing(),
        Thing(pk=1),
        saved(Thing),
        saved(Thing, pk=[1]),
        CompositeThing(tenant=1, number=1),
        saved(CompositeThing, tenant=1),
        saved(CompositeThing, number=1),
        saved(CompositeThing, tenant=1, number=[1]),
    ],
    ids=[
        "unsaved",
        "unsaved, with a primary key",
        "deleted",
        "primary key that cannot be hashed",
        "unsaved, with a composite primary key",
        "half a composite primary key",
        "the other half",
        "composite primary key that cannot be hashed",
    ],
)
def test_an_object_without_a_lasting_identity_has_no_key(obj):
    assert object_key(obj) is None


# The store


GRANTED, DENIED = Decision(granted=True), Decision(granted=False)
KEY = ObjectKey(Thing, "default", int, 1)


def test_a_generation_keeps_decisions_by_source_permission_and_key():
    generation = Generation()
    generation.keep(PERM, KEY, {"user": GRANTED})
    assert generation.recall("user", PERM, KEY) == GRANTED
    assert generation.recall("group", PERM, KEY) is None
    assert generation.recall("user", "testapp.change_thing", KEY) is None
    for other in (object_key(make()) for make in DISTINCT[1:]):
        assert generation.recall("user", PERM, other) is None
    for change in ({"pk_type": bool, "pk": True}, {"alias": "other"}, {"model": OtherThing}):
        assert generation.recall("user", PERM, KEY._replace(**change)) is None


def test_a_generation_adds_what_is_decided_later():
    generation = Generation()
    generation.keep(PERM, KEY, {"user": DENIED})
    generation.keep(PERM, KEY, {"group": GRANTED}, granted=True)
    generation.keep(PERM, KEY, {})
    assert generation.recall("user", PERM, KEY) == DENIED
    assert generation.recall("group", PERM, KEY) == GRANTED
    assert generation.table(PERM, KEY)[1].granted is True


def test_decisions_without_lines_take_no_memory_of_their_own():
    generation = Generation()
    for pk in (1, 2):
        generation.keep(PERM, KEY._replace(pk=pk), {"user": Decision(granted=True)}, granted=True)
    table = generation.table(PERM, KEY)
    assert table[1] is table[2]


@pytest.mark.parametrize("source", ["user", "group"])
def test_what_follows_from_a_decision_has_the_lines_that_led_to_it(source):
    generation, decision = Generation(), Decision(True, (Entry("because"),))
    generation.keep(PERM, KEY, {source: decision}, granted=True)
    assert generation.recall(source, PERM, KEY) is decision
    record = generation.table(PERM, KEY)[1]
    assert (record.granted, record.entries) == (True, ("because",))


def test_lines_of_a_method_that_was_not_asked_are_no_part_of_what_follows():
    generation = Generation()
    user, group = Decision(True, (Entry("user"),)), Decision(True, (Entry("group"),))
    generation.keep(PERM, KEY, {"group": group})
    generation.keep(PERM, KEY, {"user": user}, granted=True)
    record = generation.table(PERM, KEY)[1]
    assert (record.user, record.group, record.entries) == (user, group, ("user",))


def test_what_follows_stays_when_a_part_of_it_is_kept_again():
    generation, decision = Generation(), Decision(True, (Entry("because"),))
    generation.keep(PERM, KEY, {"user": decision}, granted=True)
    record = generation.table(PERM, KEY)[1]
    generation.keep(PERM, KEY, {"user": decision})
    assert generation.table(PERM, KEY)[1] is record


def test_a_generation_keeps_nothing_without_a_key():
    generation = Generation()
    generation.keep(PERM, None, {"user": GRANTED})
    assert generation.recall("user", PERM, None) is None


def test_what_a_check_stores_after_a_clear_goes_nowhere():
    user = User()
    cache = permission_cache(user)
    of_the_check = cache.generation
    cache.clear()
    of_the_check.keep(PERM, KEY, {"user": GRANTED})
    of_the_check.model_level["_perm_cache"] = {PERM}
    assert cache.generation.recall("user", PERM, KEY) is None
    assert not hasattr(user, "_perm_cache")


def test_dropping_one_of_djangos_caches_keeps_the_others():
    cache = PermissionCache(User())
    cache.generation.model_level.update({name: {name} for name in DJANGOS})
    cache.generation.keep(PERM, KEY, {"user": GRANTED})
    before = cache.generation
    cache.drop_model_level("_perm_cache")
    assert cache.generation.model_level == {name: {name} for name in DJANGOS[1:]}
    assert cache.generation.recall("user", PERM, KEY) is None
    assert set(before.model_level) == set(DJANGOS)  # checks in flight keep what they know


@pytest.mark.parametrize("first", DJANGOS)
def test_what_is_made_of_a_dropped_cache_is_dropped_as_well(first):
    user = User()
    for name in DJANGOS:
        setattr(user, name, {name})
    delattr(user, first)
    assert not hasattr(user, "_perm_cache")
    user._perm_cache = {PERM}  # as a check in another thread does, from what is left
    for name in DJANGOS:
        if name != first:
            delattr(user, name)
    assert not any(hasattr(user, name) for name in DJANGOS)


class _Interrupted:
    """A lock in which something else happens while it is held, in the same thread."""

    def __init__(self, lock: Any, interrupt: Callable[[], object]) -> None:
        self.lock = lock
        self.interrupt = interrupt

    def __enter__(self) -> None:
        self.lock.acquire()
        interrupt, self.interrupt = self.interrupt, lambda: None
        interrupt()

    def __exit__(self, *args: object) -> None:
        self.lock.release()


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "work",
    [
        lambda user: permission_cache(user).generation.keep(PERM, KEY, {"user": GRANTED}),
        lambda user: permission_cache(user).clear(),
        lambda user: permission_cache(user).drop_model_level("_group_perm_cache"),
    ],
)
@pytest.mark.parametrize(
    "interrupt",
    [
        lambda user: permission_cache(user).generation.keep(PERM, KEY, {"user": GRANTED}),
        lambda user: user.clear_perm_cache(),
        lambda user: delattr(user, "_perm_cache"),
    ],
)
def test_a_signal_handler_may_do_anything(monkeypatch, work, interrupt):
    user = User()
    cache = permission_cache(user)
    cache.generation.model_level.update({name: {name} for name in DJANGOS})
    lock = _Interrupted(_cache._replacing, lambda: interrupt(user))
    monkeypatch.setattr(_cache, "_replacing", lock)
    work(user)
    assert "_perm_cache" not in cache.generation.model_level or cache.generation.recall(
        "user", PERM, KEY
    )


@pytest.mark.timeout(30)
def test_a_finalizer_may_need_a_store_while_one_is_made(monkeypatch):
    user, other = User(), User()
    found: list[Any] = []

    def interrupt() -> None:
        found.extend([permission_cache(user), permission_cache(other)])

    monkeypatch.setattr(_owned, "_creating", _Interrupted(_owned._creating, interrupt))
    assert permission_cache(user) is found[0]
    assert permission_cache(other) is found[1]


@pytest.mark.parametrize(
    "instance",
    [
        Record(),
        Shortcut(KEY, "id"),
        Trust(),
        Generation(),
        PermissionCache(KEY),
    ],
    ids=lambda instance: type(instance).__name__,
)
def test_what_is_kept_takes_no_memory_for_more(instance):
    assert not hasattr(instance, "__dict__")


# What whole checks leave


@pytest.mark.parametrize("granted", [True, False, None])
@pytest.mark.parametrize("group", [True, False, None])
@pytest.mark.parametrize("user", [True, False, None])
def test_a_shared_record_says_what_it_was_made_of(user, group, granted):
    record = shared_record(user, group, granted)
    assert record is shared_record(user, group, granted)
    assert record.granted is record.silent is granted
    assert record.user == (None if user is None else Decision(granted=user))
    assert record.group == (None if group is None else Decision(granted=group))
    assert record.entries == ()


def test_what_follows_is_kept_with_decisions_that_were_known():
    generation = Generation()
    generation.keep(PERM, KEY, {"user": GRANTED})
    generation.keep(PERM, KEY, {"user": GRANTED}, granted=True)
    assert generation.table(PERM, KEY)[1].granted is True


@pytest.mark.parametrize("source", ["user", "group"])
def test_records_without_lines_are_shared(source):
    generation = Generation()
    generation.keep(PERM, KEY, {source: Decision(granted=False)}, granted=False)
    answers = (False, None, False) if source == "user" else (None, False, False)
    assert generation.table(PERM, KEY)[1] is shared_record(*answers)


YES = shared_record(None, None, granted=True)
NO = shared_record(None, None, granted=False)


@pytest.mark.parametrize("source", ["user", "group"])
@pytest.mark.parametrize("granted", [True, False])
@pytest.mark.parametrize("entries", [(), (Entry("line"),)])
@pytest.mark.parametrize("before", [None, (True, ()), (False, ()), (False, (Entry("other"),))])
def test_the_decision_of_a_sole_method_is_that_of_the_check(source, granted, entries, before):
    generation = Generation()
    key = ObjectKey(Thing, "default", int, 1)
    table = generation.table(PERM, key)
    if before is not None:
        keep_sole(table, 1, source, Decision(*before))
    decision = Decision(granted, entries)
    keep_sole(table, 1, source, decision)
    assert generation.recall(source, PERM, key) == decision
    assert generation.recall("group" if source == "user" else "user", PERM, key) is None
    assert (table[1].granted, table[1].entries) == (granted, entries)
    assert table[1].silent is (None if entries else granted)


def test_a_shortcut_knows_a_record_by_its_key_or_the_one_of_all():
    assert Shortcut(KEY, "id").record(1) is None
    assert Shortcut(KEY, "id", same=YES).record(1) is YES
    shortcut = Shortcut(KEY, "id", table={1: NO})
    assert shortcut.record(1) is NO
    assert shortcut.record(2) is None
    assert Shortcut(KEY, "id").log is None


@pytest.mark.parametrize(
    ("verbosity", "options", "sure"),
    [
        (0, {}, True),
        (0, {"doubt": False}, True),
        (0, {"doubt": True}, None),
        (0, {"same": YES}, True),
        (0, {"same": NO}, False),
        (0, {"same": YES, "doubt": True}, None),
        (1, {}, None),
        (2, {"same": YES}, None),
        (1, {"doubt": False}, None),
    ],
)
def test_an_answer_that_has_to_be_logged_or_may_be_another_is_not_sure(verbosity, options, sure):
    shortcut = Shortcut(KEY, "id", **options)
    Trust(verbosity=verbosity).add(PERM, KEY, shortcut)
    assert (shortcut.sure if shortcut.sure in (True, False) else None) is sure


def test_shortcuts_are_found_by_permission_class_and_database():
    trust = Trust()
    keys = [KEY._replace(alias=alias) for alias in ("default", "other", "third")]
    shortcuts = [Shortcut(key, "id") for key in keys]
    for key, shortcut in zip(keys, shortcuts, strict=True):
        assert trust.find(PERM, Thing, key.alias) is None
        trust.add(PERM, key, shortcut)
    assert [trust.find(PERM, Thing, key.alias) for key in keys] == shortcuts
    assert trust.shortcuts[PERM][Thing] is shortcuts[0]
    assert trust.find("testapp.change_thing", Thing, "default") is None
    assert trust.find(PERM, OtherThing, "default") is None
    for number, key in enumerate(keys):
        newer = Shortcut(key, "id")
        trust.add(PERM, key, newer)
        assert trust.find(PERM, Thing, key.alias) is newer
        assert [trust.find(PERM, Thing, other.alias) for other in keys[number + 1 :]] == shortcuts[
            number + 1 :
        ]


# One decision each


@pytest.mark.parametrize("answer", [True, False, None, PermissionDenied()])
def test_a_method_is_asked_once(api, user, thing, method, answer):
    method.answer = answer
    first = api(user).has_perm(PERM, thing)
    method.answer = not first
    assert api(user).has_perm(PERM, thing) is first is (answer is True)
    assert len(method.calls) == 1


def test_both_apis_share_decisions(user, thing, method):
    import asgiref.sync

    assert user.has_perm(PERM, thing)
    assert asgiref.sync.async_to_sync(user.ahas_perm)(PERM, thing)
    assert PERM in user.get_all_permissions(thing)
    assert len(method.calls) == 1


def test_another_instance_of_the_same_row_shares_the_decision(api, user, thing, method):
    assert api(user).has_perm(PERM, thing)
    assert api(user).has_perm(PERM, Thing.objects.get(pk=thing.pk))
    assert len(method.calls) == 1


def test_each_source_has_its_own_decision(api, user, thing, access_methods):
    by_user, by_group = Method(False), Method(True)
    access_methods(Thing, _user_can_use_thing=by_user, _group_can_use_thing=by_group)
    for _ in range(2):
        assert PERM in api(user).get_group_permissions(thing)
        assert PERM not in api(user).get_user_permissions(thing)
        assert api(user).has_perm(PERM, thing)
    assert len(by_user.calls) == len(by_group.calls) == 1


def test_each_permission_has_its_own_decision(api, user, thing, access_methods):
    user = grant(user, "testapp.change_thing")
    access_methods(Thing, _user_can_use_thing=Method(True), _user_can_change_thing=Method(False))
    for _ in range(2):
        assert api(user).has_perm(PERM, thing)
        assert not api(user).has_perm("testapp.change_thing", thing)


def test_each_user_instance_has_its_own_decisions(api, user, thing, method):
    assert api(user).has_perm(PERM, thing)
    method.answer = False
    assert not api(User.objects.get(pk=user.pk)).has_perm(PERM, thing)
    assert api(user).has_perm(PERM, thing)


def test_no_object_is_served_the_decision_of_another(api, user, access_methods):
    things = [make() for make in DISTINCT]
    for model in (Thing, OtherThing, CompositeThing):
        access_methods(model, _user_can_use_thing=lambda self, user: self is allowed)
    for allowed in things:
        user.clear_perm_cache()
        for _ in range(2):
            granted = [thing for thing in things if api(user).has_perm(PERM, thing)]
            assert [type(thing) for thing in granted] == [type(allowed)]
            assert granted[0] is allowed


@pytest.mark.django_db(databases=["default", "other"])
def test_rows_of_two_databases_do_not_share_decisions(api, user, method, thing):
    elsewhere = Thing.objects.using("other").create(pk=thing.pk, name="elsewhere")
    assert api(user).has_perm(PERM, thing)
    method.answer = False
    assert not api(user).has_perm(PERM, elsewhere)
    assert not api(user).has_perm(PERM, Thing.objects.using("other").get(pk=thing.pk))
    assert len(method.calls) == 2


def test_unsaved_objects_are_asked_every_time(api, user, method):
    one, two = Thing(), Thing()
    assert api(user).has_perm(PERM, one)
    method.answer = False
    assert not api(user).has_perm(PERM, two)
    assert not api(user).has_perm(PERM, one)
    assert not api(user).has_perm(PERM, Thing(pk=1))
    assert len(method.calls) == 4


def test_a_deleted_object_is_asked_every_time(api, user, thing, method):
    assert api(user).has_perm(PERM, thing)
    thing.delete()
    method.answer = False
    assert not api(user).has_perm(PERM, thing)


def test_an_object_that_its_method_saves_was_unsaved_when_asked(api, user, access_methods):
    def save(self: Any, user: Any) -> bool:
        self.save()
        return self.name == "good"

    access_methods(Thing, _user_can_use_thing=save)
    thing = Thing(name="good")
    assert api(user).has_perm(PERM, thing)
    thing.name = "bad"
    assert not api(user).has_perm(PERM, thing)


def test_an_exception_leaves_earlier_decisions_alone(api, user, thing, access_methods):
    by_user, by_group = Method(False), Method(ValueError("x"))
    access_methods(Thing, _user_can_use_thing=by_user, _group_can_use_thing=by_group)
    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            api(user).has_perm(PERM, thing)
    assert (len(by_user.calls), len(by_group.calls)) == (1, 2)


def test_a_decision_is_good_only_while_the_user_is_active(api, user, thing, method):
    assert api(user).has_perm(PERM, thing)
    user.is_active = False
    assert not api(user).has_perm(PERM, thing)


def test_a_decision_is_good_only_with_the_permission_at_the_model_level(api, user, thing, method):
    assert api(user).has_perm(PERM, thing)
    user._perm_cache = user._user_perm_cache = user._group_perm_cache = set()
    assert not api(user).has_perm(PERM, thing)


# Warm checks


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_a_warm_check_makes_no_query(
    api, user, thing, access_methods, settings, verbosity, django_assert_num_queries
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user.groups.add(Group.objects.create(name="staff"))
    access_methods(
        Thing,
        _user_can_use_thing=lambda self, user: Thing.objects.filter(owner=user).exists(),
        _group_can_use_thing=lambda self, groups: groups.filter(name="staff").exists(),
    )
    with django_assert_num_queries(3):  # Django's permissions, and what each method asks
        assert api(user).has_perm(PERM, thing) is True
    with django_assert_num_queries(0):
        assert api(user).has_perm(PERM, thing) is True
        assert api(user).has_perm(PERM) is True
        assert api(user).has_perm("testapp.change_thing", thing) is False


# Clearing


def test_clearing_forgets_decisions(api, user, thing, method):
    assert api(user).has_perm(PERM, thing)
    method.answer = False
    assert api(user).has_perm(PERM, thing)
    api(user).clear_perm_cache()
    assert not api(user).has_perm(PERM, thing)


@pytest.mark.parametrize("by", ["user", "group"])
def test_clearing_forgets_the_model_level(api, user, thing, by):
    perm = "testapp.change_thing"
    assert not api(user).has_perm(perm, thing)
    if by == "user":
        user.user_permissions.add(permission(perm))
    else:
        group = Group.objects.create(name="staff")
        group.permissions.add(permission(perm))
        user.groups.add(group)
    assert not api(user).has_perm(perm, thing)
    api(user).clear_perm_cache()
    assert api(user).has_perm(perm, thing)
    assert api(user).has_perm(perm)


@pytest.mark.parametrize("missing", DJANGOS)
def test_a_cache_that_is_missing_does_not_protect_the_others(api, user, missing):
    for name in DJANGOS:
        setattr(user, name, {PERM})
    delattr(user, missing)
    api(user).clear_perm_cache()
    assert not any(hasattr(user, name) for name in DJANGOS)
    assert "_perm_cache" not in vars(user)


def test_clearing_an_empty_cache_is_fine(api):
    user = User()
    api(user).clear_perm_cache()
    api(user).clear_perm_cache()
    assert not any(hasattr(user, name) for name in DJANGOS)


@pytest.mark.parametrize("name", DJANGOS)
def test_djangos_caches_are_plain_attributes_to_others(name):
    user = User()
    with pytest.raises(AttributeError, match=name):
        getattr(user, name)
    if name != "_perm_cache":  # which goes with the others
        with pytest.raises(AttributeError, match=name):
            delattr(user, name)
    setattr(user, name, permissions := {PERM})
    assert getattr(user, name) is permissions
    delattr(user, name)
    assert not hasattr(user, name)
    assert not hasattr(User, "no_such_cache")
    assert hasattr(User, name)


@pytest.mark.parametrize("name", DJANGOS)
def test_whoever_drops_djangos_caches_drops_decisions(api, user, thing, method, name):
    assert api(user).has_perm(PERM, thing)
    setattr(user, name, getattr(user, name, {PERM}))
    method.answer = False
    delattr(user, name)
    assert not api(user).has_perm(PERM, thing)


def kept_of_django(user: User) -> list[str]:
    return [name for name in DJANGOS if hasattr(user, name)]


def test_a_clear_inside_a_method_wins_over_its_own_check(api, user, thing, access_methods):
    def clear(self: Any, user: Any) -> bool:
        asked.append(kept_of_django(user))
        user.clear_perm_cache()
        return True

    asked: list[Any] = []
    access_methods(Thing, _user_can_use_thing=clear)
    for count in (1, 2):
        assert api(user).has_perm(PERM, thing) is True
        assert len(asked) == count
        assert asked[-1] != []
        assert kept_of_django(user) == []


def test_a_clear_in_a_nested_check_wins_over_the_outer_one(api, user, thing, access_methods):
    def clear(self: Any, user: Any) -> bool:
        user.clear_perm_cache()
        return True

    by_other = Method()
    by_other.ask = lambda obj, user: by_other.calls.append(obj) or user.has_perm(PERM, other)
    other = Proxy.objects.create()
    access_methods(Thing, _user_can_use_thing=by_other)
    access_methods(Proxy, _user_can_use_thing=clear)
    for count in (1, 2):
        assert api(user).has_perm(PERM, thing) is True
        assert len(by_other.calls) == count


def test_a_nested_check_after_a_clear_is_kept(api, user, thing, access_methods):
    """What begins after the clear is new knowledge."""

    def clear_and_check(self: Any, user: Any) -> bool:
        user.clear_perm_cache()
        return user.has_perm(PERM, other)

    nested = Method()
    other = Proxy.objects.create()
    access_methods(Thing, _user_can_use_thing=clear_and_check)
    access_methods(Proxy, _user_can_use_thing=nested)
    assert api(user).has_perm(PERM, thing)
    assert api(user).has_perm(PERM, other)
    assert len(nested.calls) == 1


class ClearingBackend(ModelBackend):
    """Somebody clears while this fetches permissions."""

    def _get_user_permissions(self, user_obj: User) -> Any:
        user_obj.clear_perm_cache()
        return super()._get_user_permissions(user_obj)


@pytest.mark.parametrize(
    "ask",
    [
        lambda user: user.has_perm(PERM),
        lambda user: PERM in user.get_all_permissions(),
        lambda user: PERM in user.get_user_permissions(),
        lambda user: user.has_module_perms("testapp"),
        lambda user: user.has_perms([PERM]),
    ],
    ids=["has_perm", "all permissions", "user permissions", "module", "has_perms"],
)
def test_a_clear_wins_over_permissions_being_fetched(api, user, settings, ask):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.ClearingBackend"]
    assert ask(api(user))
    assert kept_of_django(user) == []


def test_a_clear_while_permissions_are_fetched_drops_the_decision(
    api, user, thing, method, settings
):
    settings.AUTHENTICATION_BACKENDS = [
        f"{__name__}.ClearingBackend",
        "djem_async.auth.ObjectPermissionsBackend",
    ]
    for count in (1, 2):
        assert api(user).has_perm(PERM, thing)
        assert len(method.calls) == count
        assert kept_of_django(user) == []


def test_a_method_that_drops_djangos_caches_with_hasattr_first_does_not_fail(
    api, user, thing, access_methods
):
    def drop(self: Any, user: Any) -> bool:
        user.clear_perm_cache()
        for name in DJANGOS:
            if hasattr(user, name):
                delattr(user, name)
        return True

    access_methods(Thing, _user_can_use_thing=drop)
    assert api(user).has_perm(PERM, thing)
    assert kept_of_django(user) == []


# Copies


def plain_user() -> PlainUser:
    user = PlainUser(pk=1, name="plain", is_active=True)
    user._perm_cache = user._user_perm_cache = {PERM}
    user._group_perm_cache = set()
    return user


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda user: pickle.loads(pickle.dumps(user)),
}


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("verbosity", [0, 2])
def test_decisions_do_not_travel_with_a_copy(api, user, thing, method, settings, copied, verbosity):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    assert api(user).has_perm(PERM, thing)
    method.answer = False
    twin = COPIES[copied](user)
    assert twin == user
    assert kept_of_django(twin) == []
    with pytest.raises(KeyError):
        twin.get_log(f"auto-{PERM}")
    assert not api(twin).has_perm(PERM, thing)
    assert api(user).has_perm(PERM, thing)
    api(twin).clear_perm_cache()
    method.answer = True
    assert api(twin).has_perm(PERM, thing)


@pytest.mark.parametrize("copied", COPIES)
def test_decisions_do_not_travel_with_a_copy_of_another_kind_of_user(api, thing, method, copied):
    user, backend = plain_user(), api(ObjectPermissionsBackend())
    assert backend.has_perm(user, PERM, thing)
    assert backend.has_perm(user, PERM, thing)
    assert len(method.calls) == 1
    method.answer = False
    assert not backend.has_perm(COPIES[copied](user), PERM, thing)
    assert backend.has_perm(user, PERM, thing)


@pytest.mark.parametrize("copied", COPIES)
def test_an_anonymous_user_can_be_copied(api, thing, method, copied):
    user = AnonymousUser()
    assert not api(user).has_perm(PERM, thing)
    assert not api(COPIES[copied](user)).has_perm(PERM, thing)


@pytest.mark.parametrize("is_known", [False, True])
def test_decisions_on_an_object_that_becomes_another_meanwhile_are_not_kept(
    api, user, access_methods, is_known
):
    asked = []

    def move(self, user):
        asked.append(self.pk)
        if self.pk == 1:
            self.pk = 2
        return False

    def grant(self, groups):
        asked.append(self.pk)
        return True

    access_methods(Thing, _user_can_use_thing=move, _group_can_use_thing=grant)
    if is_known:  # how to ask objects of this class
        assert api(user).has_perm(PERM, saved_thing(3))
        asked.clear()
    for _ in range(2):
        assert api(user).has_perm(PERM, saved_thing(1))
        assert asked == [1, 2]
        asked.clear()
    assert api(user).has_perm(PERM, saved_thing(2))
    assert asked == [2, 2]


def saved_thing(pk):
    thing = Thing(pk=pk)
    thing._state.adding, thing._state.db = False, "default"
    return thing


@pytest.mark.parametrize("is_known", [False, True])
def test_the_decision_of_a_method_is_kept_if_the_next_one_fails(
    api, user, access_methods, is_known
):
    asked, failing = [], []

    def deny(self, user):
        asked.append("user")
        return False

    def fail(self, groups):
        asked.append("group")
        if failing:
            raise failing.pop()
        return True

    access_methods(Thing, _user_can_use_thing=deny, _group_can_use_thing=fail)
    if is_known:  # how to ask objects of this class
        assert api(user).has_perm(PERM, saved_thing(3))
        asked.clear()
    failing.append(ValueError("x"))
    with pytest.raises(ValueError, match="x"):
        api(user).has_perm(PERM, saved_thing(1))
    for _ in range(2):
        assert api(user).has_perm(PERM, saved_thing(1))
    assert asked == ["user", "group", "group"]
