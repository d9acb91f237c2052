"""Model-level permissions equal those that `ModelBackend.get_all_permissions` finds."""

import random
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser, Group, Permission, PermissionsMixin
from django.db import DatabaseError, connections, models, transaction
from django.test.utils import CaptureQueriesContext

from djem_async.models import OLPMixin
from tests.testapp.models import PlainUser, Thing, User

CACHES = ("_user_perm_cache", "_group_perm_cache", "_perm_cache")
SETS = ("get_user_permissions", "get_group_permissions", "get_all_permissions")
PERM = "testapp.use_thing"

pytestmark = pytest.mark.django_db(databases=["default", "other"])


class Base(models.Model):
    class Meta:
        abstract = True
        app_label = "testapp"
        default_permissions = ()


class BaseUser(OLPMixin, AbstractBaseUser, PermissionsMixin):
    is_active = models.BooleanField(default=True)
    groups = models.ManyToManyField(Group, related_name="+")
    user_permissions = models.ManyToManyField(Permission, related_name="+")

    class Meta(Base.Meta):
        abstract = True


class UUIDUser(BaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)


class CharUser(BaseUser):
    name = models.CharField(primary_key=True, max_length=50, default=uuid.uuid4)


class ChildUser(Base, OLPMixin, PlainUser):
    """The relations are its parent's, and refer to the parent's primary key."""


class Person(Base):
    number = models.BigAutoField(primary_key=True)


class PersonUser(Person, BaseUser):
    """The relations are its own, its primary key is the link to its parent."""


class Member(Base):
    groups = models.ManyToManyField(Group, related_name="+")


class MemberUser(OLPMixin, Member):
    """One relation is its own, the other its parent's, and the keys of the two differ."""

    number = models.BigAutoField(primary_key=True)
    member = models.OneToOneField(Member, models.CASCADE, parent_link=True)
    user_permissions = models.ManyToManyField(Permission, related_name="+")
    is_active, is_superuser, is_anonymous = True, False, False


class ProxyUser(User):
    class Meta(Base.Meta):
        proxy = True


class EnrolledUser(BaseUser):
    """Its groups are in a model of the project, which knows users by another number."""

    number = models.IntegerField(unique=True, default=lambda: random.randrange(2**31))
    groups = models.ManyToManyField(Group, through="testapp.Enrollment", related_name="+")


class Enrollment(Base):
    user = models.ForeignKey(EnrolledUser, models.CASCADE, to_field="number", related_name="+")
    group = models.ForeignKey(Group, models.CASCADE, related_name="+")


class OwnRelation(models.ManyToManyField):
    """A subclass may find others than Django's field does."""


class OwnRelationUser(BaseUser):
    user_permissions = OwnRelation(Permission, related_name="+")


class FixedUser(BaseUser):
    groups = property(lambda self: Group.objects.filter(name__endswith="1"))  # type: ignore[assignment]


USUAL = [User, ProxyUser, UUIDUser, CharUser, PersonUser]
UNUSUAL = [PlainUser, EnrolledUser, OwnRelationUser, FixedUser, ChildUser, MemberUser]


def create(model: Any, using: str = "default", **values: Any) -> Any:
    if issubclass(model, (User, PlainUser)):
        values[model.USERNAME_FIELD] = str(uuid.uuid4())
    if model is MemberUser:
        Member.objects.using(using).create()  # so that the numbers differ
    return fresh(model._base_manager.using(using).create(**values))


def fresh(user: Any) -> Any:
    """Load the user anew, with nothing cached."""
    return type(user)._base_manager.using(user._state.db).get(pk=user.pk)


def give(user: Any, permissions: Any, groups: Any = ()) -> Any:
    user.user_permissions.set([permission.pk for permission in permissions])
    if not isinstance(user, FixedUser):
        user.groups.set(groups)
    return fresh(user)


def populate(user: Any, using: str = "default") -> Any:
    """Give one permission directly, two through groups, and one both ways."""
    found = Permission.objects.using(using).order_by("codename", "id")
    direct, grouped, other, both = found.exclude(codename="use_thing")[:4]
    groups = []
    for permissions in ([grouped, both], [other, both], [direct]):
        groups.append(Group.objects.using(using).create(name=str(uuid.uuid4())))
        groups[-1].permissions.set(permissions)
    return give(user, [direct, both], groups[:2])


def caches(user: Any) -> dict[str, set[str]]:
    return {name: getattr(user, name) for name in CACHES if hasattr(user, name)}


def djangos(user: Any) -> dict[str, set[str]]:
    ModelBackend().get_all_permissions(user)
    return caches(user)


def count_queries(call: Any, *args: Any) -> int:
    with CaptureQueriesContext(connections["default"]) as queries:
        call(*args)
    return len(queries)


def assert_like_django(api: Any, user: Any, load: Any = fresh) -> set[str]:
    """Compare what two instances of one user hold, and return it."""
    expected, found = djangos(load(user)), load(user)
    api(found).has_perm(PERM)
    if isinstance(found, OLPMixin):
        assert caches(found) == expected
    names = Permission.objects.values_list("content_type__app_label", "codename")
    perms = [f"{app_label}.{codename}" for app_label, codename in names]
    assert {perm for perm in perms if found.has_perm(perm)} == expected["_perm_cache"]
    for label in ("auth", "testapp", ""):
        holds = ModelBackend().has_module_perms(load(user), label)
        assert api(load(user)).has_module_perms(label) is holds
        assert api(found).has_module_perms(label) is holds
    return expected["_perm_cache"]


# What is found, and with how many queries


@pytest.mark.parametrize("model", USUAL)
def test_a_cold_check_makes_one_query_and_fills_djangos_caches(api, model):
    expected = djangos(populate(create(model)))
    assert [len(expected[name]) for name in CACHES] == [2, 3, 4]
    for _ in range(2):  # also once the model is known
        user = populate(create(model))
        assert count_queries(api(user).has_perm, PERM) == 1
        assert caches(user) == expected
        assert len({id(found) for found in caches(user).values()}) == 3
    backend = api(ModelBackend())
    for name, cache in zip(SETS, CACHES, strict=True):
        assert count_queries(getattr(backend, name), user) == 0
        assert getattr(backend, name)(user) == expected[cache]


@pytest.mark.parametrize("seed", range(2))
def test_users_of_any_kind_hold_what_django_finds(api, seed, monkeypatch):
    connection = connections["default"]
    if seed == 0 and connection.vendor == "postgresql":
        from django.db.backends.postgresql.base import ServerBindingCursor

        monkeypatch.setattr(connection.connection, "cursor_factory", ServerBindingCursor)
        monkeypatch.setattr(connection.features, "uses_server_side_binding", True)
    chance = random.Random(seed)
    permissions = list(Permission.objects.order_by("id"))
    groups = [Group.objects.create(name=f"group {number}") for number in range(6)]
    for group in groups:
        group.permissions.set(chance.sample(permissions, chance.choice((0, 1, 5))))
    users = [create(model) for model in USUAL + UNUSUAL for _ in range(2)]
    chance.shuffle(users)
    for user in users:
        own = chance.sample(permissions, chance.choice((0, 0, 1, 7)))
        give(user, own, chance.sample(groups, chance.randrange(4)))
    assert {len(assert_like_django(api, user)) for user in users} > {0}


class EmailBackend(ModelBackend):
    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None


DJANGOS = [f"django.contrib.auth.backends.{name}Backend" for name in ("Model", "RemoteUser")]


@pytest.mark.parametrize("path", [*DJANGOS, f"{__name__}.EmailBackend"])
def test_checks_of_one_user_share_one_query(api, settings, path):
    settings.AUTHENTICATION_BACKENDS = [path, "djem_async.auth.ObjectPermissionsBackend"]
    permission = Permission.objects.get(codename="use_thing")
    user, thing = give(create(User), [permission]), Thing.objects.create()

    def check() -> None:
        assert api(user).has_perm(PERM, thing) is True
        assert api(user).has_perms([PERM, "testapp.add_thing"]) is False
        assert api(user).has_module_perms("testapp") is True
        assert api(user).get_all_permissions() == {PERM}

    assert count_queries(check) == 1
    user.user_permissions.clear()
    assert api(user).has_perm(PERM, thing) is True
    user.clear_perm_cache()
    assert api(user).has_perm(PERM, thing) is False


@pytest.mark.parametrize("is_active", [True, False])
@pytest.mark.parametrize("is_superuser", [True, False])
def test_superusers_hold_all_and_inactive_users_nothing(api, is_active, is_superuser):
    user = populate(create(User))
    held = djangos(fresh(user))["_perm_cache"]
    user.is_active, user.is_superuser = is_active, is_superuser
    assert api(user).has_perm(PERM) is (is_active and is_superuser)
    assert api(user).has_perm(min(held)) is is_active
    assert api(user).has_module_perms("auth") is is_active
    found = api(user).get_all_permissions()
    assert len(found) == (Permission.objects.count() if is_superuser else 4) * is_active


@pytest.mark.parametrize("model", [User, ChildUser])
@pytest.mark.parametrize("names", [CACHES[:1], CACHES[1:2], CACHES[:2], CACHES[2:], CACHES])
def test_caches_set_by_hand_count(api, model, names):
    def prepared(user: Any) -> Any:
        user = fresh(user)
        for name, action in zip(names, ("add", "change", "view"), strict=False):
            setattr(user, name, {PERM, f"testapp.{action}_thing"})
        return user

    user = populate(create(model))
    assert PERM in assert_like_django(api, user, prepared)
    is_enough = "_perm_cache" in names or len(names) == 2
    user = prepared(user)
    assert count_queries(api(user).has_perm, PERM) == (not is_enough)
    user._perm_cache = {"of.later"}
    assert api(user).has_perm("of.later") is True
    assert api(user).has_perm(PERM) is False
    user.clear_perm_cache()
    assert api(user).has_perm("of.later") is False
    assert caches(user) == djangos(fresh(user))


# Instances and relations


def prefetched(name: str, queryset: Any, of: Any = lambda user: user) -> Any:
    def load(user: Any) -> Any:
        user = fresh(user)
        models.prefetch_related_objects([of(user)], models.Prefetch(name, queryset=queryset))
        return user

    return load


NO_GROUPS = Group.objects.filter(pk=0)
LOADED = {
    "by hand": lambda user: User(pk=user.pk),
    "by text": lambda user: User(pk=str(user.pk)),
    "as a proxy": lambda user: ProxyUser.objects.get(pk=user.pk),
    "with all groups": prefetched("groups", Group.objects.all()),
    "with no groups": prefetched("groups", NO_GROUPS),
    "with no permissions": prefetched("user_permissions", Permission.objects.filter(pk=0)),
    "with no groups of its parent": prefetched(
        "groups", NO_GROUPS, lambda user: user.plainuser_ptr
    ),
}


@pytest.mark.parametrize("how", LOADED)
def test_the_way_a_user_is_loaded_counts_as_with_django(api, how):
    user = populate(create(ChildUser if "parent" in how else User))
    everything = assert_like_django(api, user)
    found = assert_like_django(api, user, LOADED[how])
    if "parent" not in how:  # which Django asks from version 6.1 on
        assert (found == everything) is ("with no" not in how)


def test_groups_that_do_not_exist_grant_nothing(api):
    user = populate(create(User))
    held = Permission.objects.get(codename="use_thing")
    with connections["default"].constraint_checks_disabled():
        member = User.groups.through.objects.create(user=user, group_id=987_654)
        grants = Group.permissions.through.objects.create(permission=held, group_id=987_654)
        assert PERM not in assert_like_django(api, user)
        member.delete()
        grants.delete()


# Databases


ALIASES = (None, "default", "other")


@pytest.mark.parametrize("of_instance", ALIASES)
@pytest.mark.parametrize("others", ALIASES)
def test_routers_are_obeyed(api, of_instance, others, settings):
    """Users with one key and other permissions are in both databases."""
    users = {}
    for alias, codename in (("default", "add_thing"), ("other", "change_thing")):
        of_thing = Permission.objects.using(alias).order_by("codename")
        add, view = of_thing.filter(codename__in=[codename, "view_thing"])
        group = Group.objects.using(alias).create(pk=72, name=alias)
        group.permissions.add(view if alias == "default" else add)
        users[alias] = give(create(User, alias, pk=71), [add], [group])
    loaded = {alias: [fresh(user) for _ in range(3)] for alias, user in users.items()}
    api(loaded["default"].pop()).has_perm(PERM)  # what is known by now must not be in the way
    aliases = {True: of_instance, False: others}  # of queries for an instance, and of others
    settings.DATABASE_ROUTERS = [
        SimpleNamespace(db_for_read=lambda model, **hints: aliases["instance" in hints])
    ]
    for alias in users:
        found, like_django = loaded[alias][:2]
        api(found).has_perm(PERM)
        assert caches(found) == djangos(like_django)


def test_a_failed_query_caches_nothing(api):
    user = populate(create(User))
    held = djangos(fresh(user))

    def fail(*args: Any) -> Any:
        raise DatabaseError("x")

    for obj in (None, Thing(pk=1), None):
        with transaction.atomic(), connections["default"].execute_wrapper(fail):
            with pytest.raises(DatabaseError, match="x"):
                api(user).has_perm(PERM, obj)
        assert not caches(user)
    api(user).has_perm(PERM)
    assert caches(user) == held
