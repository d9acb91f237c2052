"""The fetch of model-level permissions with kept SQL finds what Django's own queries find.

The number of queries tells who fetched: ours is one, Django's are two.
"""

import asyncio
import os
import random
import uuid
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import (
    AbstractBaseUser,
    Group,
    GroupManager,
    Permission,
    PermissionManager,
    PermissionsMixin,
)
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, connections, models, transaction
from django.db.models.expressions import Value
from django.db.models.fields.related_descriptors import create_forward_many_to_many_manager
from django.db.models.lookups import Exact, IsNull
from django.db.models.sql.compiler import SQLCompiler
from django.test.utils import CaptureQueriesContext, isolate_apps, register_lookup
from django.utils.functional import SimpleLazyObject

from djem_async import _fetch
from djem_async._fetch import fill_permission_caches
from djem_async.models import OLPMixin
from tests.testapp.models import PlainUser, User

DATABASE = os.environ.get("DJEM_TEST_DB", "sqlite")
CACHES = ("_user_perm_cache", "_group_perm_cache", "_perm_cache")
OURS, DJANGOS = 1, 2


class FetchedUser(AbstractBaseUser, PermissionsMixin):
    """The base of user models with relations of their own."""

    is_active = models.BooleanField(default=True)
    groups = models.ManyToManyField(Group, related_name="+")
    user_permissions = models.ManyToManyField(Permission, related_name="+")

    class Meta:
        abstract = True
        app_label = "testapp"
        default_permissions = ()

    def __str__(self) -> str:
        return "a user"


class UUIDUser(OLPMixin, FetchedUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)


class CharUser(FetchedUser):
    name = models.CharField(primary_key=True, max_length=50, default=uuid.uuid4)


class TaggedAutoField(models.BigAutoField):
    """Numbers in the database, text like ``user-7`` in Python."""

    def from_db_value(self, value: Any, *args: Any) -> Any:
        return None if value is None else f"user-{value}"

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> Any:
        return int(value.removeprefix("user-")) if isinstance(value, str) else value


class TaggedUser(OLPMixin, FetchedUser):
    id = TaggedAutoField(primary_key=True)


class ChildUser(OLPMixin, PlainUser):
    """Its relations are its parent's, and know users by the parent's primary key."""

    class Meta:
        app_label = "testapp"
        default_permissions = ()


class GrandchildUser(ChildUser):
    class Meta:
        app_label = "testapp"
        default_permissions = ()


class Person(models.Model):
    number = models.BigAutoField(primary_key=True)

    class Meta:
        app_label = "testapp"
        default_permissions = ()


class PersonUser(Person, FetchedUser):
    """Its relations are its own, its primary key is the link to its parent."""


class Member(models.Model):
    groups = models.ManyToManyField(Group, related_name="+")

    class Meta:
        app_label = "testapp"
        default_permissions = ()


class MemberUser(OLPMixin, Member):
    """One relation is its own, the other its parent's, and each knows it by another number."""

    number = models.BigAutoField(primary_key=True)
    member = models.OneToOneField(Member, models.CASCADE, parent_link=True)
    user_permissions = models.ManyToManyField(Permission, related_name="+")
    is_active = models.BooleanField(default=True)
    is_superuser = False
    is_anonymous = False

    class Meta:
        app_label = "testapp"
        default_permissions = ()


class ProxyUser(User):
    class Meta:
        app_label = "testapp"
        proxy = True
        default_permissions = ()


class MembershipKey(models.ForeignKey):
    """A key that can be told to leave out what is over."""

    leaves_out_past = False

    def get_extra_restriction(self, alias: Any, related_alias: Any) -> Any:
        if not self.leaves_out_past:
            return None
        return IsNull(self.model._meta.get_field("ended").get_col(related_alias), True)


class ThroughUser(FetchedUser):
    """Its memberships are a model, with more to it than two keys."""

    groups = models.ManyToManyField(Group, through="testapp.Membership", related_name="+")


class Membership(models.Model):
    user = models.ForeignKey(ThroughUser, models.CASCADE, related_name="+")
    group = MembershipKey(Group, models.CASCADE, related_name="+")
    ended = models.DateField(null=True)

    class Meta:
        app_label = "testapp"
        default_permissions = ()


class NumberedUser(FetchedUser):
    """Its groups know it by another number, in a table that passes for one of Django's."""

    number = models.IntegerField(unique=True)
    groups = models.ManyToManyField(Group, through="testapp.Enrollment", related_name="+")


class Enrollment(models.Model):
    user = models.ForeignKey(NumberedUser, models.CASCADE, to_field="number", related_name="+")
    group = models.ForeignKey(Group, models.CASCADE, related_name="+")

    class Meta:
        app_label = "testapp"
        default_permissions = ()
        auto_created = True


class PermissionProxy(Permission):
    class Meta:
        app_label = "testapp"
        proxy = True
        default_permissions = ()


class ProxyPermissionsUser(FetchedUser):
    """Its permissions are of a class that routers may send elsewhere."""

    user_permissions = models.ManyToManyField(PermissionProxy, related_name="+")


USUAL = (
    User,
    PlainUser,
    UUIDUser,
    CharUser,
    TaggedUser,
    ChildUser,
    GrandchildUser,
    PersonUser,
    MemberUser,
    ProxyUser,
)
BOTH = pytest.mark.django_db(databases=["default", "other"])


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fetch, "_kept", {})
    _fetch._relations.cache_clear()


def create(model: Any, using: str = "default", **values: Any) -> Any:
    unique = {"username": str(uuid.uuid4())} if issubclass(model, User) else {}
    if model is MemberUser:
        Member.objects.using(using).create()  # so that the numbers are not the same
    if issubclass(model, PlainUser):
        unique = {"name": str(uuid.uuid4())}
    return fresh(model._base_manager.using(using).create(**unique, **values))


def fresh(user: Any) -> Any:
    """Load the user anew, with nothing cached."""
    return type(user)._base_manager.using(user._state.db).get(pk=user.pk)


def some_permissions(count: int, using: str = "default") -> list[Permission]:
    """Get permissions that do not come one after the other."""
    return list(Permission.objects.using(using).order_by("codename", "id")[:count])


def populate(user: Any, using: str = "default") -> Any:
    """Give one permission directly, two through groups, and one both ways."""
    direct, grouped, other, both = some_permissions(4, using)
    for members, permissions in ((True, [grouped, both]), (True, [other, both]), (False, [direct])):
        group = Group.objects.using(using).create(name=str(uuid.uuid4()))
        group.permissions.set(permissions)
        if members:
            user.groups.add(group)
    user.user_permissions.set([direct.pk, both.pk])
    return fresh(user)


def caches(user: Any) -> dict[str, set[str]]:
    return {name: getattr(user, name) for name in CACHES if hasattr(user, name)}


def count_queries(call: Any, *args: Any) -> int:
    """Count the queries of a call on both databases."""
    with (
        CaptureQueriesContext(connections["default"]) as default,
        CaptureQueriesContext(connections["other"]) as other,
    ):
        call(*args)
    return len(default) + len(other)


def filled(user: Any, queries: int | None = OURS) -> dict[str, set[str]]:
    counted = count_queries(fill_permission_caches, ModelBackend(), user)
    assert queries in (None, counted)
    return caches(user)


def djangos(user: Any) -> dict[str, set[str]]:
    ModelBackend().get_all_permissions(user)
    return caches(user)


def assert_like_django(user: Any, queries: int | None = OURS, *, reload: Any = fresh) -> None:
    """Compare what two instances of one user get."""
    expected = djangos(reload(user))
    assert filled(reload(user), queries) == expected


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[SQLCompiler]:
    seen: list[SQLCompiler] = []
    as_sql = SQLCompiler.as_sql

    def spy(self: SQLCompiler, *args: Any, **kwargs: Any) -> Any:
        seen.append(self)
        return as_sql(self, *args, **kwargs)

    monkeypatch.setattr(SQLCompiler, "as_sql", spy)
    return seen


# What is found


@pytest.mark.parametrize("model", USUAL)
@BOTH
def test_it_finds_what_django_finds_with_one_query(model):
    user = populate(create(model))
    expected = djangos(fresh(user))
    assert [len(expected[name]) for name in CACHES] == [2, 3, 4]
    found = fresh(user)
    assert filled(found) == expected
    backend = ModelBackend()
    with CaptureQueriesContext(connections["default"]) as nothing:
        assert backend.get_all_permissions(found) == expected["_perm_cache"]
        assert backend.get_user_permissions(found) == expected["_user_perm_cache"]
        assert backend.get_group_permissions(found) == expected["_group_perm_cache"]
    assert not nothing.captured_queries


@pytest.mark.parametrize("seed", range(4))
@BOTH
def test_in_any_world_it_finds_what_django_finds(seed):
    chance = random.Random(seed)
    permissions = list(Permission.objects.order_by("id"))
    groups = [Group.objects.create(name=f"group {number}") for number in range(6)]
    for group in groups:
        group.permissions.set(chance.sample(permissions, chance.choice((0, 1, 5))))
    users = [create(model) for model in USUAL for _ in range(3)]
    chance.shuffle(users)
    for user in users:
        user.groups.set(chance.sample(groups, chance.randrange(4)))
        user.user_permissions.set(chance.sample(permissions, chance.choice((0, 0, 1, 7))))
    for user in users:
        assert_like_django(user)


@pytest.mark.parametrize("model", USUAL)
@BOTH
def test_nothing_is_found_for_a_user_who_has_nothing(model):
    populate(create(model))
    assert filled(create(model)) == {name: set() for name in CACHES}


@BOTH
def test_each_set_is_one_of_its_own():
    user = populate(create(User))
    fill_permission_caches(ModelBackend(), user)
    assert len({id(getattr(user, name)) for name in CACHES}) == len(CACHES)


@BOTH
def test_changed_memberships_are_seen_by_the_next_instance():
    user = populate(create(User))
    before = filled(fresh(user))
    user.groups.clear()
    user.user_permissions.set(some_permissions(6)[5:])
    after = filled(fresh(user))
    assert after != before
    assert after == djangos(fresh(user))


# What is kept


@pytest.mark.parametrize("model", USUAL)
@BOTH
def test_the_second_user_of_a_model_takes_no_compilation(model, compilations):
    first, second = populate(create(model)), populate(create(model))
    second.user_permissions.clear()
    second = fresh(second)
    compilations.clear()
    filled(first)
    assert compilations
    compilations.clear()
    found = filled(second)
    assert not compilations
    assert found == djangos(fresh(second))
    assert found["_perm_cache"] != first._perm_cache


@BOTH
def test_the_user_is_not_kept():
    user = populate(create(User, pk=987_654))
    filled(user)
    assert all(part is not user for key in _fetch._kept for part in key)
    assert all(type(sql) is str and str(user.pk) not in sql for sql in _fetch._kept.values())


TABLES = {
    "permission": Permission,
    "content type": ContentType,
    "group": Group,
    "group permissions": Group.permissions.through,
    "user permissions": User.user_permissions.through,
    "memberships": User.groups.through,
}


@pytest.mark.parametrize("table", TABLES)
@BOTH
def test_a_table_with_another_name_is_another_query(table, monkeypatch):
    user = populate(create(User))
    filled(fresh(user))
    monkeypatch.setattr(TABLES[table]._meta, "db_table", "not_there")
    for fetch in (djangos, filled):
        found = fresh(user)
        with pytest.raises(DatabaseError, match="not_there"), transaction.atomic():
            fetch(found)
        assert not hasattr(found, "_perm_cache")


@BOTH
def test_a_connection_that_names_tables_otherwise_gets_another_query(monkeypatch):
    user = populate(create(User))
    filled(fresh(user))
    ops = connections["default"].ops
    quote = ops.quote_name
    monkeypatch.setattr(ops, "quote_name", lambda name: quote(name.replace("auth_", "tenant_")))
    with pytest.raises(DatabaseError, match="tenant_"), transaction.atomic():
        filled(user)


@BOTH
def test_a_percent_sign_in_a_name_is_none_of_a_parameter(monkeypatch):
    """With SQLite Django gets along with it, in most names, and fails itself with the others."""
    user = populate(create(User))
    connection = connections["default"]
    table = User.groups.through._meta.db_table
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE VIEW "100%old" AS SELECT * FROM {table}')
    quote = connection.ops.quote_name
    monkeypatch.setattr(
        connection.ops, "quote_name", lambda name: quote("100%old" if name == table else name)
    )

    def outcome(fetch: Any) -> Any:
        try:
            with transaction.atomic():
                fetch(found := fresh(user))
            return caches(found)
        except Exception as error:
            return type(error)

    expected = outcome(djangos)
    assert isinstance(expected, dict) is (connection.vendor == "sqlite")
    for _ in range(2):
        assert outcome(partial(fill_permission_caches, ModelBackend())) == expected


@BOTH
def test_a_percent_sign_in_the_name_of_a_column_is_none_of_a_parameter(monkeypatch):
    user = populate(create(User))
    quote = connections["default"].ops.quote_name
    monkeypatch.setattr(
        connections["default"].ops,
        "quote_name",
        lambda name: quote(f"{name}%id" if name == "_permission" else name),
    )
    if connections["default"].vendor == "sqlite":  # elsewhere Django fails as well
        assert_like_django(user, DJANGOS)


@BOTH
def test_parameters_have_names_only_where_that_is_known_to_work(monkeypatch):
    connection = connections["default"]
    assert _fetch._takes_names(connection) is (connection.vendor == "sqlite")
    another = type("DatabaseWrapper", (type(connection),), {})
    monkeypatch.setattr(connection, "__class__", another, raising=False)
    assert not _fetch._takes_names(connection)


@BOTH
def test_another_kind_of_connection_gets_another_query(monkeypatch, compilations):
    user = populate(create(User))
    filled(fresh(user))
    connection = connections["default"]
    monkeypatch.setattr(
        connection, "__class__", type("DatabaseWrapper", (type(connection),), {}), raising=False
    )
    found = fresh(user)
    compilations.clear()
    filled(found)
    assert compilations


@pytest.mark.parametrize("change", ["model", "database"])
@BOTH
def test_each_model_and_each_database_has_a_query_of_its_own(change, settings, compilations):
    user = create(User)
    filled(fresh(user))
    found = fresh(user)
    if change == "model":
        found = ProxyUser.objects.get(pk=user.pk)
    else:  # whose server may have another version
        settings.DATABASE_ROUTERS = [Recorder({True: "other", False: "other"})]
    compilations.clear()
    filled(found)
    assert compilations


@BOTH
def test_only_so_much_is_kept(monkeypatch):
    monkeypatch.setattr(_fetch, "_MOST_KEPT", 2)
    users = [populate(create(model)) for model in USUAL]
    for user in users * 2:
        assert_like_django(user)
        assert 1 <= len(_fetch._kept) <= 2


@BOTH
def test_what_is_kept_for_one_model_stays_when_another_comes(compilations):
    users = [populate(create(model)) for model in USUAL]
    for user in users:
        filled(fresh(user))
    others = [fresh(user) for user in users]
    compilations.clear()
    for user in others:
        filled(user)
    assert not compilations


class WithoutCode:
    """A method that is not made of Python code."""

    def __get__(self, instance: Any, owner: type) -> Any:
        return self

    def __call__(self, user: Any, obj: Any = None) -> set[str]:
        user._perm_cache = {"testapp.by_patch"}
        return user._perm_cache


@BOTH
def test_a_patch_of_any_kind_is_heard(monkeypatch):
    user = populate(create(User))
    monkeypatch.setattr(ModelBackend, "get_all_permissions", WithoutCode())
    found = fresh(user)
    fill_permission_caches(ModelBackend(), found)
    assert found._perm_cache == {"testapp.by_patch"}


class Forwarding:
    """A patch all of whose attributes are those of what it replaces."""

    def __init__(self, replaced: Any) -> None:
        self._replaced = replaced

    def __get__(self, instance: Any, owner: type) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._replaced, name)

    def __call__(self, *args: Any, **kwargs: Any) -> set[str]:
        return set()


@pytest.mark.parametrize("name", _fetch._METHODS[:4])
@BOTH
def test_a_patch_that_passes_for_what_it_replaces_is_heard(name, monkeypatch):
    user = populate(create(User))
    assert filled(fresh(user))["_perm_cache"]
    monkeypatch.setattr(ModelBackend, name, Forwarding(getattr(ModelBackend, name)))
    found = fresh(user)
    fill_permission_caches(ModelBackend(), found)
    assert caches(found) == djangos(fresh(user))


@pytest.mark.parametrize("name", _fetch._METHODS[1:])
@BOTH
def test_a_patch_within_a_method_is_heard(name, monkeypatch):
    def no_names(self: Any, user: Any, obj: Any = None, name: Any = None) -> Any:
        return set()

    def no_rows(self: Any, user: Any) -> Any:
        return Permission.objects.none()

    user = populate(create(User))
    assert filled(fresh(user))["_perm_cache"]
    patch = no_rows if name in _fetch._METHODS[-2:] else no_names
    monkeypatch.setattr(getattr(ModelBackend, name), "__code__", patch.__code__)
    found = fresh(user)
    fill_permission_caches(ModelBackend(), found)
    assert caches(found) == djangos(fresh(user))


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("get_user_permissions", BaseBackend.get_user_permissions),
        ("get_group_permissions", BaseBackend.get_group_permissions),
        ("_get_user_permissions", ModelBackend._get_group_permissions),
        ("_get_group_permissions", ModelBackend._get_user_permissions),
    ],
)
@BOTH
def test_a_method_that_is_another_of_djangos_is_heard(name, other, is_kept, monkeypatch):
    user = populate(create(User))
    if is_kept:
        filled(fresh(user))
    monkeypatch.setattr(ModelBackend, name, other)
    found = fresh(user)
    fill_permission_caches(ModelBackend(), found)
    assert caches(found) == djangos(fresh(user))


@pytest.mark.parametrize("name", CACHES)
@BOTH
def test_a_user_model_with_a_say_over_a_cache_grants_no_more_than_django(name, monkeypatch):
    user = populate(create(User))
    filled(fresh(user))
    monkeypatch.setattr(User, name, frozenset())
    found = fresh(user)
    fill_permission_caches(ModelBackend(), found)
    backend, like_django = ModelBackend(), fresh(user)
    for permission in some_permissions(4):
        perm = f"{permission.content_type.app_label}.{permission.codename}"
        assert backend.has_perm(found, perm) <= backend.has_perm(like_django, perm)


# Whose work it is


@BOTH
def test_a_superuser_has_every_permission():
    user = populate(create(User))
    filled(fresh(user))
    User.objects.update(is_superuser=True)
    found = filled(fresh(user), DJANGOS)
    assert found == djangos(fresh(user))
    assert len(found["_perm_cache"]) == Permission.objects.count()


@BOTH
def test_an_inactive_user_gets_nothing():
    user = populate(create(User))
    filled(fresh(user))
    user.is_active = False
    assert filled(user, 0) == {}


@pytest.mark.parametrize("model", [User, PlainUser])
@pytest.mark.parametrize(
    ("present", "queries"),
    [
        (("_user_perm_cache",), 1),
        (("_group_perm_cache",), 1),
        (("_user_perm_cache", "_group_perm_cache"), 0),
        (("_perm_cache",), 0),
        (CACHES, 0),
    ],
)
@BOTH
def test_caches_that_are_present_are_respected(model, present, queries):
    user = populate(create(model))

    def prepared(user: Any) -> Any:
        again = fresh(user)
        for name in present:
            setattr(again, name, {f"of.{name}"})
        return again

    assert_like_django(user, queries, reload=prepared)


class Narrow:
    """Finds only some of the permissions or groups: those with an odd primary key."""

    def get_queryset(self) -> Any:
        queryset: Any = models.Manager.get_queryset(self)
        return queryset.filter(pk__in=ODD)


ODD = range(1, 100_000, 2)


class NarrowPermissionManager(Narrow, PermissionManager):
    pass


class NarrowGroupManager(Narrow, GroupManager):
    pass


class NarrowQuerySet(models.QuerySet):
    def filter(self, *args: Any, **kwargs: Any) -> Any:
        return super().filter(*args, **kwargs, pk__in=ODD)


def narrow_objects(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    manager = kind()
    manager.model, manager.name = Permission, "objects"
    monkeypatch.setattr(Permission, "objects", manager)


def narrow_relation(monkeypatch: pytest.MonkeyPatch, name: str, kind: Any) -> None:
    relation = getattr(User, name)
    monkeypatch.setitem(
        vars(relation),
        "related_manager_cls",
        create_forward_many_to_many_manager(kind, relation.rel, reverse=False),
    )


def narrow_method(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    monkeypatch.setattr(kind, "get_queryset", Narrow.get_queryset)


PERMISSION_MANAGERS = (
    NarrowPermissionManager,
    PermissionManager.from_queryset(NarrowQuerySet, "ChainedPermissionManager"),
)
GROUP_MANAGERS = (
    NarrowGroupManager,
    GroupManager.from_queryset(NarrowQuerySet, "ChainedGroupManager"),
)
NARROWED = [
    *((narrow_objects, kind) for kind in PERMISSION_MANAGERS),
    *((narrow_relation, "user_permissions", kind) for kind in PERMISSION_MANAGERS),
    *((narrow_relation, "groups", kind) for kind in GROUP_MANAGERS),
    (narrow_method, PermissionManager),
    (narrow_method, GroupManager),
]


@pytest.fixture
def rich_user(db: None) -> Any:
    """A user with enough to lose something where half of the permissions or groups are hidden."""
    permissions = some_permissions(8)
    groups = [Group(pk=pk, name=str(pk)) for pk in (901, 902)]
    for group, granted in zip(groups, (permissions[:4], permissions[4:]), strict=True):
        group.save()
        group.permissions.set(granted)
    user = create(User)
    user.groups.set(groups)
    user.user_permissions.set(some_permissions(9))
    return fresh(user)


@pytest.mark.parametrize(
    "narrow",
    NARROWED,
    ids=lambda narrow: " ".join(getattr(part, "__name__", part) for part in narrow),
)
@BOTH
def test_a_custom_manager_is_left_to_django(narrow, rich_user, monkeypatch):
    everything = filled(fresh(rich_user))
    where, *what = narrow
    where(monkeypatch, *what)
    narrowed = djangos(fresh(rich_user))
    assert narrowed != everything
    assert filled(fresh(rich_user), DJANGOS) == narrowed


def only_odd(find: Any, model: Any = None) -> Any:
    """Narrow what a method of a manager finds."""

    def narrowed(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = find(self, *args, **kwargs)
        return found.filter(pk__in=ODD) if model in (None, found.model) else found

    return narrowed


@pytest.mark.parametrize(
    ("where", "name", "model"),
    [
        (lambda: models.Manager, "get_queryset", Group),
        (lambda: models.Manager, "get_queryset", Permission),
        (lambda: User.groups.related_manager_cls, "get_queryset", None),
        (lambda: User.user_permissions.related_manager_cls, "get_queryset", None),
        (lambda: PermissionManager, "filter", None),
    ],
)
@BOTH
def test_what_narrows_djangos_queries_narrows_ours(where, name, model, rich_user, monkeypatch):
    everything = djangos(fresh(rich_user))
    kind = where()
    monkeypatch.setattr(kind, name, only_odd(getattr(kind, name), model), raising=False)
    narrowed = djangos(fresh(rich_user))
    assert narrowed != everything
    assert filled(fresh(rich_user), None) == narrowed


@BOTH
def test_a_group_or_permission_that_does_not_exist_holds_nothing():
    """In a transaction, and where databases have no foreign keys."""
    user = populate(create(User))
    (held,) = Permission.objects.exclude(user=user).exclude(group__user=user)[:1]
    nobody = 987_654
    rows = [
        User.groups.through(user=user, group_id=nobody),
        Group.permissions.through(group_id=nobody, permission=held),
        User.user_permissions.through(user=user, permission_id=nobody),
    ]
    with connections["default"].constraint_checks_disabled():
        for row in rows:
            row.save()
        assert_like_django(user)
        for row in rows:
            row.delete()


@BOTH
def test_queries_that_find_nothing_find_nothing(monkeypatch):
    user = populate(create(User))
    monkeypatch.setattr(PermissionManager, "filter", lambda self, **_: self.none(), raising=False)
    assert_like_django(user, 1)


@pytest.mark.parametrize("name", ["groups", "user_permissions"])
@BOTH
def test_a_relation_that_is_no_field_is_left_to_django(name, monkeypatch):
    user = populate(create(User))
    everything = filled(fresh(user))
    target = {"groups": Group, "user_permissions": Permission}[name]
    monkeypatch.setattr(User, name, property(lambda self: target.objects.filter(pk=0)))
    assert_like_django(user, DJANGOS)
    assert djangos(fresh(user)) != everything


@pytest.mark.parametrize(
    "through",
    [User.user_permissions.through, User.groups.through, Group.permissions.through],
    ids=["permissions of users", "groups of users", "permissions of groups"],
)
@BOTH
def test_a_table_of_the_projects_own_is_left_to_django(through, monkeypatch):
    user = populate(create(User))
    monkeypatch.setattr(through._meta, "auto_created", False)
    assert_like_django(user, DJANGOS)
    _fetch._relations.cache_clear()


@pytest.mark.parametrize(
    ("through", "name"),
    [
        (User.user_permissions.through, "permission"),
        (User.user_permissions.through, "user"),
        (Group.permissions.through, "permission"),
        (Group.permissions.through, "group"),
        (User.groups.through, "group"),
        (User.groups.through, "user"),
    ],
)
@BOTH
def test_what_narrows_a_foreign_key_narrows_ours(through, name, monkeypatch):
    user = populate(create(User))
    pk = through._meta.pk

    def nothing(alias: str | None, related: str) -> Any:
        column = pk.get_col(related if related == through._meta.db_table else alias)
        return Exact(column, column * 0)

    key = through._meta.get_field(name)
    monkeypatch.setattr(key, "get_extra_restriction", nothing, raising=False)
    assert_like_django(user, None)


@pytest.mark.parametrize("name", ["groups", "user_permissions"])
@BOTH
def test_a_relation_to_another_model_is_left_to_django(name, monkeypatch):
    """Such as a proxy, whose default manager may be Django's."""
    user = populate(create(User))
    relation = getattr(User, name)
    with isolate_apps("tests.testapp"):
        meta = type("Meta", (), {"proxy": True, "app_label": "testapp"})
        bases: Any = (relation.rel.model,)
        proxy = type("AProxy", bases, {"Meta": meta, "__module__": "tests.testapp"})
    monkeypatch.setattr(relation.rel, "model", proxy)
    assert_like_django(user, DJANGOS)
    _fetch._relations.cache_clear()


class OwnKey(models.ForeignKey):
    pass


@BOTH
def test_a_foreign_key_of_the_projects_own_is_left_to_django(monkeypatch):
    user = populate(create(User))
    key = User.user_permissions.through._meta.get_field("permission")
    monkeypatch.setattr(key, "__class__", OwnKey)
    assert_like_django(user, DJANGOS)


@BOTH
def test_a_field_to_another_model_is_left_to_django(monkeypatch):
    user = populate(create(User))
    filled(fresh(user))
    monkeypatch.setattr(User, "groups", User.user_permissions)
    messages = set()
    for fetch in (djangos, filled):
        with pytest.raises(ValueError, match="Use a QuerySet for") as caught:
            fetch(fresh(user))
        messages.add(str(caught.value))
    assert len(messages) == 1


@BOTH
def test_a_field_to_a_proxy_is_left_to_django():
    assert_like_django(populate(create(ProxyPermissionsUser)), DJANGOS)


@BOTH
def test_a_user_without_groups_fails_as_with_django(monkeypatch):
    user = create(PlainUser)
    monkeypatch.delattr(PlainUser, "groups")
    monkeypatch.delattr(PermissionsMixin, "groups", raising=False)
    for fetch in (djangos, filled):
        with pytest.raises(AttributeError, match="groups"):
            fetch(fresh(user))


@BOTH
def test_memberships_with_a_model_of_their_own_are_left_to_django(monkeypatch):
    user = create(ThroughUser)
    for permission, ended in zip(some_permissions(2), (None, "2020-01-01"), strict=True):
        group = Group.objects.create(name=str(permission.pk))
        group.permissions.add(permission)
        Membership.objects.create(user=user, group=group, ended=ended)
    assert len(filled(fresh(user), DJANGOS)["_group_perm_cache"]) == 2
    monkeypatch.setattr(MembershipKey, "leaves_out_past", True)
    assert len(filled(fresh(user), DJANGOS)["_group_perm_cache"]) == 1


@BOTH
def test_memberships_that_know_users_by_something_else_are_left_to_django():
    first = create(NumberedUser, pk=901, number=901)
    assert filled(fresh(first), DJANGOS) == djangos(fresh(first))
    one, other = create(NumberedUser, pk=902, number=903), create(NumberedUser, pk=903, number=902)
    group = Group.objects.create(name="enrolled")
    group.permissions.set(some_permissions(2))
    Enrollment.objects.create(user=other, group=group)
    for user, count in ((one, 0), (other, 2)):
        assert_like_django(user, DJANGOS)
        assert len(djangos(fresh(user))["_group_perm_cache"]) == count


@pytest.mark.parametrize("name", ["groups", "user_permissions"])
@BOTH
def test_a_prefetch_that_narrows_a_relation_narrows_the_permissions(name):
    user = populate(create(User))
    everything = filled(fresh(user))
    target = {"groups": Group, "user_permissions": Permission}[name]
    prefetch = models.Prefetch(name, queryset=target.objects.filter(pk=0))

    def prefetched(user: Any) -> Any:
        return User.objects.prefetch_related(prefetch).get(pk=user.pk)

    assert djangos(prefetched(user)) != everything
    assert_like_django(user, DJANGOS, reload=prefetched)


@pytest.mark.parametrize("model", [ChildUser, GrandchildUser])
@BOTH
def test_a_prefetch_on_a_parent_is_left_to_django(model):
    user = populate(create(model))
    filled(fresh(user))

    def prefetched(user: Any) -> Any:
        user = parent = fresh(user)
        while type(parent) is not PlainUser:
            parent = getattr(parent, type(parent)._meta.pk.name)
        models.prefetch_related_objects(
            [parent], models.Prefetch("groups", queryset=Group.objects.filter(pk=0))
        )
        return user

    assert_like_django(user, DJANGOS, reload=prefetched)


@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize("model", [User, ChildUser, PersonUser])
@BOTH
def test_an_unsaved_user_fails_as_with_django(model, is_warm):
    if is_warm:
        filled(create(model))
    messages = set()
    for fetch in (djangos, filled):
        with pytest.raises(ValueError, match="needs to have a") as caught:
            fetch(model())
        messages.add(str(caught.value))
    assert len(messages) == 1


@BOTH
def test_a_child_without_its_primary_key_fails_as_with_django():
    filled(create(ChildUser))
    for fetch in (djangos, filled):
        user = create(ChildUser)
        user.plainuser_ptr_id = None
        assert user.id
        with pytest.raises(ValueError, match="needs to have a value"):
            fetch(user)


@BOTH
def test_a_child_without_its_parents_primary_key_is_left_to_django():
    def without(user: Any) -> Any:
        user = fresh(user)
        user.id = None
        return user

    filled(create(ChildUser))
    assert_like_django(populate(create(ChildUser)), DJANGOS, reload=without)


@pytest.mark.parametrize("value", [None, 2**70])
@pytest.mark.parametrize("name", ["number", "id"])
@BOTH
def test_where_one_of_two_numbers_is_missing_django_decides(name, value):
    def result(fetch: Any) -> Any:
        user = fresh(members[0])
        setattr(user, name, value)
        try:
            return fetch(user)
        except ValueError as error:
            return str(error)

    members = [populate(create(MemberUser)) for _ in range(2)]
    filled(fresh(members[1]))
    assert members[0].number != members[0].id
    assert result(partial(filled, queries=None)) == result(djangos)


@BOTH
def test_an_instance_made_by_hand_is_as_good():
    user = populate(create(User))
    assert_like_django(user, reload=lambda user: User(pk=user.pk))


@BOTH
def test_an_expression_for_a_primary_key_is_left_to_django():
    user = populate(create(User))
    filled(fresh(user))
    assert_like_django(user, DJANGOS, reload=lambda user: User(pk=Value(user.pk)))


@pytest.mark.parametrize("is_warm", [False, True])
@BOTH
def test_a_number_that_no_column_can_hold_finds_nothing(is_warm):
    if is_warm:
        filled(create(User))
    assert filled(User(pk=2**70), 0) == {name: set() for name in CACHES}
    assert_like_django(populate(create(User)))


class Wrapped(int):
    def __int__(self) -> int:
        return 5


@pytest.mark.parametrize("model", [User, Group], ids=["of 64 bits", "of 32 bits"])
@pytest.mark.parametrize(
    "pk", [1, 2**31 - 1, 2**31, 2**63, 0, -1, True, "7", 3.0, Wrapped(8), Value(1), None]
)
@BOTH
def test_a_plain_number_is_what_djangos_lookups_make_of_it(model, pk, monkeypatch):
    connection = connections["default"]
    prepared = _fetch._prepared_pk(model(pk=pk), model, connection)
    monkeypatch.setattr(_fetch, "_is_plain_number", lambda *_: False)
    found = _fetch._prepared_pk(model(pk=pk), model, connection)
    assert (prepared and list(map(repr, prepared))) == (found and list(map(repr, found)))


@pytest.mark.parametrize(
    ("pk", "field", "is_plain"),
    [
        *((pk, User._meta.pk, True) for pk in (1, 2, 2**30, 2**31 - 1)),
        *((pk, User._meta.pk, False) for pk in (2**31, 0, -1, True, 1.0, "1", Wrapped(1))),
        (1, Group._meta.pk, True),
        (1, models.SmallAutoField(primary_key=True), False),
        (1, models.IntegerField(primary_key=True), False),
    ],
)
def test_only_a_plain_number_is_taken_as_it_is(pk, field, is_plain):
    assert _fetch._is_plain_number(pk, field) is is_plain


@pytest.mark.parametrize("where", [lambda: User._meta.pk, lambda: type(User._meta.pk)])
@BOTH
def test_a_lookup_that_is_not_djangos_is_left_to_django(where):
    class Redirected(Exact):
        """It looks for the first user where it is given the second."""

        def as_sql(self, compiler: Any, connection: Any) -> Any:
            sql, params = super().as_sql(compiler, connection)
            return sql, [first.pk if param == second.pk else param for param in params]

    first, second = create(User), create(User)
    first.user_permissions.add(Permission.objects.get(codename="add_thing"))
    second.user_permissions.add(Permission.objects.get(codename="change_thing"))
    with register_lookup(where(), Redirected):
        for pk in (first.pk, second.pk):
            assert filled(User(pk=pk), DJANGOS)["_perm_cache"] == {"testapp.add_thing"}


@BOTH
def test_more_parameters_are_left_to_django(monkeypatch, compilations):
    original = Exact.as_sql

    def doubled(self: Any, compiler: Any, connection: Any) -> Any:
        sql, params = original(self, compiler, connection)
        return f"({sql} AND {sql})", (*params, *params)

    user = populate(create(User))
    monkeypatch.setattr(Exact, "as_sql", doubled)
    assert_like_django(user, DJANGOS)
    # This is remembered too.
    first, second = fresh(user), fresh(user)
    compilations.clear()
    expected = djangos(first)
    djangos_own = len(compilations)
    assert filled(second, DJANGOS) == expected
    assert len(compilations) == 2 * djangos_own


@BOTH
def test_values_that_are_converted_are_left_to_django(monkeypatch):
    user = populate(create(User))
    monkeypatch.setattr(
        Permission._meta.get_field("codename"),
        "from_db_value",
        lambda value, *args: value.upper(),
        raising=False,
    )
    assert_like_django(user, DJANGOS)
    assert all(perm.partition(".")[2].isupper() for perm in djangos(user)["_perm_cache"])


@BOTH
def test_a_lazy_user_is_left_to_django():
    def lazy(user: Any) -> Any:
        loaded = fresh(user)
        return SimpleLazyObject(lambda: loaded)

    assert_like_django(populate(create(User)), DJANGOS, reload=lazy)


# Databases


class Recorder:
    """Answers as it is told, and notes what it was asked."""

    def __init__(self, answers: dict[bool, str | None] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[Any] = []

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        self.asked.append((model, hints))
        return self.answers.get("instance" in hints)


@pytest.fixture
def twins(db: None) -> dict[str, Any]:
    """Users with one primary key, each in a database of its own, and with other permissions."""
    users = {}
    for alias, step in (("default", 1), ("other", 2)):
        user = create(User, alias, pk=71)
        direct, grouped = some_permissions(6, alias)[step : 3 * step : step]
        group = Group.objects.using(alias).create(pk=72, name=alias)
        group.permissions.add(grouped)
        user.groups.add(group)
        user.user_permissions.add(direct)
        users[alias] = fresh(user)
    return users


# By whether the instance is among the hints: where each of the two queries goes, for a user from
# each database, and whether we take it.
ROUTES = {
    "silent": ({}, {"default": OURS, "other": DJANGOS}),
    "default": ({True: "default", False: "default"}, {"default": OURS, "other": OURS}),
    "other": ({True: "other", False: "other"}, {"default": OURS, "other": OURS}),
    "groups elsewhere": ({False: "other"}, {"default": DJANGOS, "other": OURS}),
    "user elsewhere": (
        {True: "other", False: "default"},
        {"default": DJANGOS, "other": DJANGOS},
    ),
}


@pytest.mark.parametrize("alias", ["default", "other"])
@pytest.mark.parametrize("route", ROUTES)
@BOTH
def test_routers_are_obeyed(route, alias, twins, settings):
    """Both databases hold something for the user, and not the same."""
    answers, queries = ROUTES[route]
    found = {}
    for start in ("default", "other"):
        filled(fresh(twins[start]), None)  # whatever is kept by now must not be in the way
    users = [fresh(twins[alias]) for _ in range(3)]
    settings.DATABASE_ROUTERS = [Recorder(answers)]
    found["django"] = djangos(users[0])
    assert filled(users[1], queries[alias]) == found["django"]
    assert filled(users[2], queries[alias]) == found["django"]


@BOTH
def test_the_databases_differ_for_the_routers(twins):
    alone = {alias: set(djangos(fresh(user))["_user_perm_cache"]) for alias, user in twins.items()}
    assert alone["default"] != alone["other"]


@pytest.mark.parametrize("model", [User, ChildUser])
@BOTH
def test_routers_are_asked_what_django_asks_every_time(model, settings):
    user = populate(create(model))
    users = [fresh(user) for _ in range(3)]
    settings.DATABASE_ROUTERS = [recorder := Recorder()]
    djangos(users[0])
    questions = [(Permission, {"instance": user}), (Permission, {})]
    assert recorder.asked == questions
    for user in users[1:]:
        recorder.asked.clear()
        filled(user)
        assert recorder.asked == questions
        assert recorder.asked[0][1]["instance"] is user


@BOTH
def test_an_unknown_database_fails_as_with_django(settings):
    user = create(User)
    users = [fresh(user) for _ in range(2)]
    settings.DATABASE_ROUTERS = [Recorder({True: "nowhere", False: "nowhere"})]
    messages = set()
    for fetch, user in zip((djangos, filled), users, strict=True):
        with pytest.raises(Exception, match="nowhere") as caught:
            fetch(user)
        messages.add((type(caught.value), str(caught.value)))
    assert len(messages) == 1


# The connection


@BOTH
def test_a_broken_transaction_fails_as_with_django():
    user = create(User)
    users = [fresh(user) for _ in range(3)]
    filled(users.pop())
    with transaction.atomic():
        transaction.set_rollback(True)
        for fetch, user in zip((djangos, filled), users, strict=True):
            with pytest.raises(transaction.TransactionManagementError):
                fetch(user)
            assert not caches(user)
        transaction.set_rollback(False)


@BOTH
def test_wrappers_of_the_connection_see_the_query():
    user = populate(create(User))
    seen: list[Any] = []

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append((params, many))
        return execute(sql, params, many, context)

    # Before and after, parameters may have names, which wrappers do not get to see.
    expected, found = filled(fresh(user)), fresh(user)
    with connections["default"].execute_wrapper(wrapper):
        assert filled(found) == expected
    assert filled(fresh(user)) == expected
    assert seen == [((user.pk, user.pk), False)]


@pytest.mark.parametrize("binding", ["client"] + ["server"] * (DATABASE == "postgresql"))
@pytest.mark.parametrize("model", USUAL)
@BOTH
def test_parameters_are_bound_by_either_side(model, binding, monkeypatch):
    user = populate(create(model))
    if binding == "server":
        from django.db.backends.postgresql.base import ServerBindingCursor

        connection = connections["default"]
        monkeypatch.setattr(connection.connection, "cursor_factory", ServerBindingCursor)
        monkeypatch.setattr(connection.features, "uses_server_side_binding", True)
    assert_like_django(user)
    assert_like_django(user)


@pytest.mark.parametrize("is_warm", [False, True])
@BOTH
def test_an_event_loop_makes_no_queries(is_warm):
    user = populate(create(User))
    if is_warm:
        filled(fresh(user))

    async def on_the_loop() -> None:
        with pytest.raises(SynchronousOnlyOperation):
            fill_permission_caches(ModelBackend(), user)

    asyncio.run(on_the_loop())
    assert not caches(user)
    assert_like_django(user)
