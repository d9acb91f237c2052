"""The permission cache: what is kept, for what, and for how long."""

import copy
import pickle
from typing import Any

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import PermissionDenied

from djem_async._cache import Decision, Generation, PermissionCache, object_key, permission_cache
from djem_async.auth import ObjectPermissionsBackend
from tests.conftest import grant, permission
from tests.testapp.models import CompositeThing, OtherThing, PlainUser, SpecialThing, Thing, User
from tests.testapp.models import ThingProxy as Proxy

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
    assert object_key(saved(Thing, pk=1)) == (Thing, "default", 1)
    assert object_key(saved(Thing, pk=1, name="changed")) == (Thing, "default", 1)
    key = object_key(saved(CompositeThing, tenant=1, number=2))
    assert key == (CompositeThing, "default", (1, 2))


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


def test_a_generation_remembers_by_source_permission_and_key():
    generation, key = Generation(), (Thing, "default", 1)
    decision = Decision(granted=True)
    generation.remember("user", PERM, key, decision)
    assert generation.recall("user", PERM, key) is decision
    assert generation.recall("group", PERM, key) is None
    assert generation.recall("user", "testapp.change_thing", key) is None
    for other in (object_key(make()) for make in DISTINCT[1:]):
        assert generation.recall("user", PERM, other) is None


def test_a_generation_remembers_nothing_without_a_key():
    generation = Generation()
    generation.remember("user", PERM, None, Decision(granted=True))
    assert generation.recall("user", PERM, None) is None


def test_what_a_check_stores_after_a_clear_goes_nowhere():
    user = User()
    cache, key = permission_cache(user), (Thing, "default", 1)
    of_the_check = cache.generation
    cache.clear()
    of_the_check.remember("user", PERM, key, Decision(granted=True))
    of_the_check.model_level["_perm_cache"] = {PERM}
    assert cache.generation.recall("user", PERM, key) is None
    assert not hasattr(user, "_perm_cache")


def test_dropping_one_of_djangos_caches_keeps_the_others():
    cache = PermissionCache(User())
    cache.generation.model_level.update({name: {name} for name in DJANGOS})
    cache.generation.remember("user", PERM, (Thing, "default", 1), Decision(granted=True))
    before = cache.generation
    cache.drop_model_level("_perm_cache")
    assert cache.generation.model_level == {name: {name} for name in DJANGOS[1:]}
    assert cache.generation.recall("user", PERM, (Thing, "default", 1)) is None
    assert set(before.model_level) == set(DJANGOS)  # checks in flight keep what they know


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
    with django_assert_num_queries(4):
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
