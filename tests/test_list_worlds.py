"""List = check = prefetched check = users with the permission, in random worlds.

A world is plain data: rows, users and the access methods of a class, each with a random rule. What
has to be granted comes from the rule alone, by a filter of Django's and the six steps of a check.
Checks of users with nothing cached have to grant that, and all ways to list it have to agree.

Worlds are few, and the same every time, unless ``DJEM_TEST_EXAMPLES`` says how many: then they are
new ones, and the seed is printed. ``DJEM_TEST_SEED`` repeats such a run, and
``DJEM_TEST_WORLD='{...}'`` one world, as a failure prints it.
"""

import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import (
    BooleanField,
    Case,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Lower
from django.db.models.lookups import Exact, GreaterThan
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import strategies as st

from djem_async import shortcuts
from djem_async.access import without_model_level
from djem_async.exceptions import NoQueryFormError
from djem_async.models import PermittedQuerySet
from djem_async.shortcuts import get_objects_for_user, permitted
from tests.conftest import OUR_BACKEND, Api, permission
from tests.differential.histories import EXAMPLES, SEED, check_many
from tests.test_list_traps import caching_subqueries
from tests.testapp.models import Page, PageProxy, PlainUser, SpecialPage, User

PERM, OTHER_PERM = "testapp.read_page", "testapp.view_page"
CLASSES = {each.__name__: each for each in (Page, PageProxy, SpecialPage)}
SOURCES = ("user", "group")
TEXTS = ("staff", "Staff", "STAFF", "staff ", "st_ff", "s%", "")
AMOUNT = 6  # of rows
PEOPLE = range(1, 4)  # the primary keys of the users
HOLDER = 4  # one more, whom nothing but access methods can deny
GROUPS = ("staff", "editors", "holders")
CONSTANTS: dict[str, Any] = {"true": True, "false": False, "none": None}


def first_name_of(user: Any) -> str:
    return getattr(user, "first_name", "staff")


pages = Page._base_manager
child = pages.filter(parent=OuterRef("pk"))

# The leaves of rules, those that concern nobody, the user, or the groups of the user.
FIXED: dict[str, Callable[[], Any]] = {
    "rank": lambda: Q(rank=1),
    "rank is null": lambda: Q(rank=None),
    "rank above": lambda: Q(rank__gt=1),
    "range": lambda: Q(rank__range=(0, 1)),
    "in": lambda: Q(rank__in=[1, 2]),
    "in with null": lambda: Q(rank__in=[None, 1]),
    "in null": lambda: Q(rank__in=[None]),
    "in nothing": lambda: Q(rank__in=[]),
    "no owner": lambda: Q(owner__isnull=True),
    "no parent": lambda: Q(parent=None),
    "rank of parent": lambda: Q(parent__rank=1),
    "parent without rank": lambda: Q(parent__rank__isnull=True),
    "parent with rank": lambda: Q(parent__rank__isnull=False),
    "rank of grandparent": lambda: Q(parent__parent__rank__lte=1),
    "staff owns parent": lambda: Q(parent__owner__is_staff=True),
    "child": lambda: Q(children__rank=1),
    "child of nobody": lambda: Q(children__owner=None),
    "no child": lambda: Q(children=None),
    "staff edits": lambda: Q(editors__is_staff=True),
    "two on one": lambda: Q(editors__is_staff=True, editors__first_name="staff"),
    "two on one, joined": lambda: Q(editors__is_staff=True) & Q(editors__pk=1),
    "two of one": lambda: Q(editors__is_staff=True) & ~Q(editors__pk=1),
    "nobody edits": lambda: Q(editors__isnull=True),
    "team": lambda: Q(teams__name__iexact="STAFF"),
    "F": lambda: Q(owner=F("parent__owner")),
    "F of parent": lambda: Q(rank__gte=F("parent__rank") + 1),
    "F of many": lambda: Q(editors=F("owner")),
    "F of all editors": lambda: Q(rank__lte=F("editors__pk")),
    "F in a list": lambda: Q(rank__in=[F("parent__rank"), 1]),
    "lookup": lambda: GreaterThan(F("rank"), 1),
    "lookup of a function": lambda: Exact(Lower("title"), "staff"),
    "lookup of many": lambda: Exact(F("children__rank"), 1),
    "case": lambda: Case(When(rank=1, then=True), When(rank=2, then=Value(None, BooleanField()))),
    "wrapped": lambda: ExpressionWrapper(Q(children__rank=1), BooleanField()),
    "exists": lambda: Exists(child.filter(rank=1)),
    "exists not": lambda: ~Exists(child),
    "exists nothing": lambda: Exists(child.none()),
    "exists by text": lambda: Exists(User.objects.filter(first_name__contains=OuterRef("title"))),
    "outer of many": lambda: Q(owner__in=User.objects.filter(edited=OuterRef("children"))),
    "scalar": lambda: Q(rank=Subquery(child.order_by("pk").values("rank")[:1])),
    "in nullable": lambda: Q(rank__in=pages.filter(parent=None).values("rank")),
    "in owners": lambda: Q(owner__in=pages.values("owner")),
}
for _lookup in ("exact", "iexact", "contains", "icontains", "startswith", "endswith", "in"):
    for _text in TEXTS:
        FIXED[f"title {_lookup} {_text!r}"] = lambda lookup=_lookup, text=_text: Q(
            **{f"title__{lookup}": [text, None] if lookup == "in" else text}
        )
BY_USER: dict[str, Callable[[Any], Any]] = {
    "own": lambda user: Q(owner=user.pk),
    "own parent": lambda user: Q(parent__owner_id=user.pk),
    "own child": lambda user: Q(children__owner=user.pk),
    "edits": lambda user: Q(editors=user.pk),
    "edits parent": lambda user: Q(parent__editors=user.pk),
    "edits a child": lambda user: Q(children__editors=user.pk),
    "edits with staff": lambda user: Q(editors=user.pk) & Q(editors__is_staff=True),
    "edits and owns child": lambda user: Q(editors=user.pk, children__owner=user.pk),
    "first name": lambda user: Q(title=first_name_of(user)),
    "first name of many": lambda user: Q(editors__first_name__startswith=first_name_of(user)),
    "in own": lambda user: Q(parent__in=pages.filter(owner=user.pk)),
    "in edited": lambda user: Q(pk__in=pages.filter(editors=user.pk).values("parent")),
    "exists edited": lambda user: Exists(pages.filter(pk=OuterRef("parent"), editors=user.pk)),
    "teams of user": lambda user: Q(teams__in=user.groups.all()),
    "may see parent": lambda user: Q(parent__in=get_objects_for_user(user, OTHER_PERM, Page)),
    "may see": lambda user: Q(pk__in=get_objects_for_user(user, OTHER_PERM, Page)),
}
BY_GROUPS: dict[str, Callable[[Any], Any]] = {
    "teams": lambda groups: Q(teams__in=groups),
    "teams of parent": lambda groups: Q(parent__teams__in=groups),
    "name": lambda groups: Q(title__in=groups.values("name")),
    "exists group": lambda groups: Exists(groups.filter(name=OuterRef("title"))),
    "all": lambda groups: Exists(groups.exclude(name="staff")),
}

# Strategies


def trees(*leaves: str) -> st.SearchStrategy[Any]:
    found = st.sampled_from(leaves)
    other = st.sampled_from(tuple(FIXED))
    leaf = st.one_of(found, other, other)
    pairs = st.tuples(st.sampled_from(["and", "or"]), leaf, leaf).map(list)
    negated = st.tuples(st.just("not"), st.one_of(leaf, leaf, pairs)).map(list)
    some = st.one_of(leaf, negated, negated, pairs)
    branch = st.tuples(st.sampled_from(["and", "or", "or"]), some, some).map(list)
    tree = st.one_of(leaf, negated, branch, branch, branch)
    tree = st.one_of(tree, tree, st.tuples(st.just("not"), branch).map(list))
    return st.one_of(*[tree] * 9, st.sampled_from([*CONSTANTS, "denied"]))


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


RULES = {"user": trees(*BY_USER), "group": trees(*BY_GROUPS)}
ranks = st.sampled_from([None, 0, 1, 1, 2, 3])
people = st.sampled_from([*PEOPLE, HOLDER])
FORMS = ("query", "query", "query", "query", "both", "python", "async")
MARKS = (None, None, "active", "everybody")  # who needs no model level


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(tuple(CLASSES)))
    places = ["Page"] if kind == "Page" else ["Page", kind, kind]
    methods = []
    for source in draw(st.sampled_from([("user",), ("group",), SOURCES, SOURCES])):
        for place in draw(st.sets(st.sampled_from(places), min_size=1)):
            form, mark = draw(st.sampled_from(FORMS)), draw(st.sampled_from(MARKS))
            methods.append([place, source, form, draw(RULES[source]), mark])
    return {
        "kind": kind,
        "methods": methods if draw(st.sampled_from([True] * 9 + [False])) else [],
        "universal": draw(st.booleans()),
        "open": draw(st.booleans()),
        "rows": [
            {
                "title": draw(st.sampled_from(TEXTS)),
                "rank": draw(ranks),
                "owner_id": draw(optional(people)),
                "parent_id": draw(optional(st.integers(1, number))) if number else None,
                "editors": sorted(draw(st.sets(people))),
                "teams": sorted(draw(st.sets(st.sampled_from(GROUPS)))),
            }
            for number in range(AMOUNT)
        ],
        "users": [
            {
                "first_name": draw(st.sampled_from(TEXTS)),
                "is_staff": draw(st.booleans()),
                "is_active": draw(st.sampled_from([True] * 5 + [False])),
                "is_superuser": draw(st.sampled_from([False] * 4 + [True])),
                "held": draw(st.sampled_from(["user", "user", "user", "group", *["nothing"] * 2])),
                "groups": sorted(draw(st.sets(st.sampled_from(GROUPS[:2])))),
            }
            for _ in PEOPLE
        ],
        "include_superusers": draw(st.booleans()),
        "more": [[source, draw(RULES[source])] for source in SOURCES * 6],
        "sync first": draw(st.booleans()),
    }


# A world in the database


def built(rule: Any, source: str, argument: Any) -> Any:
    """Build the condition of a rule."""
    if rule == "denied":
        raise PermissionDenied
    if isinstance(rule, list):
        parts = (built(each, source, argument) for each in rule[1:])
        first, *others = (part if isinstance(part, Q) else Q(part) for part in parts)
        if rule[0] == "not":
            return ~first
        return first & others[0] if rule[0] == "and" else first | others[0]
    if rule in CONSTANTS:
        return CONSTANTS[rule]
    if rule in FIXED:
        return FIXED[rule]()
    return (BY_USER if source == "user" else BY_GROUPS)[rule](argument)


def right(kind: Any, rule: Any, source: str, argument: Any) -> set[int]:
    """Return the primary keys of the rows that a rule grants, by Django alone."""
    try:
        condition = built(rule, source, argument)
    except PermissionDenied:
        return set()
    rows = kind._base_manager.values_list("pk", flat=True)
    if condition is None or isinstance(condition, bool):
        return set(rows) if condition else set()
    return set(rows.filter(condition))


def access_method(source: str, form: str, rule: Any, mark: str | None) -> dict[str, Any]:
    """Return the forms of an access method by their names."""

    def query(cls: Any, argument: Any) -> Any:
        return built(rule, source, argument)

    def python(self: Any, argument: Any) -> Any:
        if rule == "denied":
            raise PermissionDenied
        return self.pk in right(type(self), rule, source, argument)

    async def apython(self: Any, argument: Any) -> Any:
        return await sync_to_async(python)(self, argument)

    def marked(method: Any) -> Any:
        return (
            method if mark is None else without_model_level(anonymous=mark == "everybody")(method)
        )

    found: dict[str, Any] = {}
    if form in ("query", "both"):
        in_order = (marked, classmethod) if form == "query" else (classmethod, marked)
        found[f"_q{source}_can_read_page"] = in_order[1](in_order[0](query))
    if form in ("python", "both"):
        found[f"_{source}_can_read_page"] = marked(python)
    if form == "async":
        found[f"_a{source}_can_read_page"] = marked(apython)
    return found


def create_people() -> None:
    groups = {name: Group.objects.create(name=name) for name in GROUPS}
    groups["holders"].permissions.add(permission(PERM), permission(OTHER_PERM))
    for pk in PEOPLE:
        User.objects.create(pk=pk, username=f"user {pk}")
    holder = User.objects.create(pk=HOLDER, username="holder", first_name="Staff")
    holder.groups.set([groups["staff"], groups["holders"]])
    PlainUser.objects.create(pk=1, name="plain")


class World:
    """The rows and users of a world, and what has to be granted."""

    def __init__(self, world: dict[str, Any]) -> None:
        self.world = world
        self.kind: Any = CLASSES[world["kind"]]
        groups = {group.name: group for group in Group.objects.all()}
        held = permission(PERM), permission(OTHER_PERM)
        for pk, person in zip(PEOPLE, world["users"], strict=True):
            names = ("first_name", "is_staff", "is_active", "is_superuser")
            User.objects.filter(pk=pk).update(**{name: person[name] for name in names})
            self._enter(User.objects.get(pk=pk), person, held, groups)
        plain = {name: world["users"][0][name] for name in ("is_active", "is_superuser")}
        PlainUser.objects.filter(pk=1).update(**plain)
        self._enter(PlainUser.objects.get(pk=1), world["users"][0], held, groups)
        for pk, row in enumerate(world["rows"], start=1):
            names = ("title", "rank", "owner_id", "parent_id")
            page = Page.objects.create(pk=pk, **{name: row[name] for name in names})
            page.editors.add(*row["editors"])
            page.teams.add(*(groups[team] for team in row["teams"]))
            if self.kind is SpecialPage and pk > 1:  # the first is of the parent alone
                SpecialPage(page_ptr=page).save_base(raw=True)
        self.nearest: dict[str, Any] = {}
        for place, source, *method in world["methods"]:
            if place == world["kind"] or source not in self.nearest:
                self.nearest[source] = method

    def _enter(self, user: Any, person: Any, held: Any, groups: Any) -> None:
        user.user_permissions.set(held if person["held"] == "user" else ())
        names = [*person["groups"], *(["holders"] if person["held"] == "group" else [])]
        user.groups.set([groups[name] for name in names])

    def objects(self) -> list[Any]:
        return list(self.kind._base_manager.order_by("pk"))

    def users(self) -> Iterator[Callable[[], Any]]:
        """Return what gets a user with nothing cached."""
        for pk in PEOPLE:
            yield partial(copy, User.objects.get(pk=pk))
        yield partial(copy, PlainUser.objects.get(pk=1))
        yield AnonymousUser

    def is_implicit(self, user: Any) -> bool:
        is_universal = self.world["universal"] and isinstance(user, User)
        return bool(user.is_superuser and not is_universal)

    def right(self, user: Any) -> set[int]:
        """Return the primary keys of the rows on which a check has to grant the permission."""
        everything = {obj.pk for obj in self.objects()}
        if not (user.is_active or user.is_anonymous):
            return set()
        if self.is_implicit(user):
            return everything
        is_held = user.is_superuser or self.holds(user)
        marks = MARKS if is_held else MARKS[-1:] if user.is_anonymous else MARKS[-2:]
        is_open = is_held and self.world["open"] and not self.nearest
        found: set[int] = everything if is_open else set()
        for source, (_, rule, mark) in self.nearest.items():
            argument = user if source == "user" else user.groups.all()
            found |= right(self.kind, rule, source, argument) if mark in marks else set()
        return found

    def holds(self, user: Any) -> bool:
        in_group = user.groups.filter(name="holders").exists()
        return in_group or user.user_permissions.filter(codename="read_page").exists()


def compare(world: dict[str, Any]) -> None:
    settings = {"DJEM_UNIVERSAL_OLP": world["universal"], "DJEM_OPEN_BY_DEFAULT": world["open"]}
    with transaction.atomic(), override_settings(**settings):
        try:
            found = World(world)
            with having(world["methods"]):
                check_world(found)
            for source, rule in world["more"]:
                with having([["Page", source, "query", rule, None]]):
                    check_alone(found, source, rule)
        except Exception as error:
            error.add_note(f"DJEM_TEST_WORLD='{json.dumps(world)}'")
            raise
        transaction.set_rollback(True)


@contextmanager
def having(methods: Any) -> Iterator[None]:
    """Give classes access methods."""
    with pytest.MonkeyPatch.context() as patch:
        for place, *about in methods:
            for name, method in access_method(*about).items():
                patch.setattr(CLASSES[place], name, method, raising=False)
        yield


def check_world(world: World) -> None:
    granted: dict[int, set[int]] = {}
    for number, get in enumerate(world.users()):
        wanted = world.right(get())
        if isinstance(get(), User):
            granted[get().pk] = wanted
        api = Api("sync" if (number % 2 == 0) is world.world["sync first"] else "async")
        check_checks(world, api, get, wanted)
        if {form for form, *_ in world.nearest.values()}.isdisjoint({"python", "async"}):
            check_lists(world, api, get, wanted)
        else:
            check_refused(world, get)
    check_users(world, granted)


def check_alone(world: World, source: str, rule: Any) -> None:
    """Compare what one access method grants to a user whom it decides about."""
    kind, user = world.kind, User.objects.get(pk=HOLDER)
    argument = user if source == "user" else user.groups.all()
    wanted, objects = right(kind, rule, source, argument), world.objects()
    listed = get_objects_for_user(user, PERM, kind).values_list("pk", flat=True)
    assert sorted(listed) == sorted(wanted), (source, rule)
    rows = kind._base_manager.annotate(yes=permitted(user, PERM, kind))
    told = dict(rows.values_list("pk", "yes"))
    assert told == {obj.pk: obj.pk in wanted for obj in objects}, (source, rule)
    for obj in objects[:2]:
        assert copy(user).has_perm(PERM, obj) is (obj.pk in wanted), (source, rule)
    user.prefetch_perms([PERM], objects)
    assert {obj.pk for obj in objects if user.has_perm(PERM, obj)} == wanted, (source, rule)


def check_checks(world: World, api: Api, get: Callable[[], Any], wanted: set[int]) -> None:
    objects, user, known = world.objects(), get(), get()
    assert {obj.pk for obj in objects if api(user).has_perm(PERM, obj)} == wanted
    if isinstance(known, User):
        api(known).prefetch_perms([PERM], objects)
        with CaptureQueriesContext(connection) as queries:
            assert {obj.pk for obj in objects if known.has_perm(PERM, obj)} == wanted
        assert not queries.captured_queries


def check_refused(world: World, get: Callable[[], Any]) -> None:
    for ask in (get_objects_for_user, permitted):
        with pytest.raises(NoQueryFormError, match="_can_read_page"):
            ask(get(), PERM, world.kind)


def check_lists(world: World, api: Api, get: Callable[[], Any], wanted: set[int]) -> None:
    kind, right = world.kind, sorted(wanted)
    rows = kind._base_manager.order_by("pk")
    others = sorted({obj.pk for obj in world.objects()} - wanted)
    condition = api(shortcuts).permitted(get(), PERM, kind)
    listed = api(shortcuts).get_objects_for_user(get(), PERM, kind)
    lists = [
        listed,
        api(shortcuts).get_objects_for_user(get(), PERM, rows.annotate(again=F("rank"))),
        api(PermittedQuerySet(kind)).permitted(get(), PERM),
        rows.filter(condition),
        rows.exclude(~condition),
        rows.filter(condition & Q(pk__gt=0)),
        rows.filter(Q(pk__lt=0) | condition),
        rows.filter(condition).distinct() | rows.filter(condition, editors=1).distinct(),
    ]
    for each in lists:
        assert sorted(each.values_list("pk", flat=True)) == right
    for each in (rows.exclude(condition), rows.filter(~condition)):
        assert list(each.values_list("pk", flat=True)) == others
    assert listed.count() == rows.filter(condition).count() == len(right)
    assert [row.pk for row in listed.order_by("-pk")[:2]] == right[::-1][:2]
    assert [row.pk for row in rows.filter(condition)[1:3]] == right[1:3]
    told = rows.annotate(
        yes=condition, no=~condition, case=Case(When(condition, then=Value(1)), default=Value(0))
    ).values_list("pk", "yes", "no", "case")
    assert list(told) == [
        (pk, pk in wanted, pk not in wanted, int(pk in wanted)) for pk in sorted(wanted | {*others})
    ]
    amounts = rows.annotate(n=Count("editors")).filter(condition).values_list("pk", "n")
    assert dict(amounts) == {pk: len(world.world["rows"][pk - 1]["editors"]) for pk in right}


def check_users(world: World, granted: dict[int, set[int]]) -> None:
    given = {"include_superusers": world.world["include_superusers"]}
    for obj in itertools.islice(world.objects(), 2):
        found = User.objects.with_perm(PERM, backend=OUR_BACKEND, obj=obj, **given)
        assert sorted(user.pk for user in found.filter(pk__in=PEOPLE)) == [
            user.pk
            for user in User.objects.filter(pk__in=PEOPLE).order_by("pk")
            if obj.pk in granted[user.pk]
            and (given["include_superusers"] or not world.is_implicit(user))
        ]


@pytest.mark.timeout(1800)  # a failing world is made small first
@pytest.mark.django_db
def test_all_ways_to_ask_agree():
    create_people()
    with caching_subqueries("off"):
        if "DJEM_TEST_WORLD" in os.environ:
            compare(json.loads(os.environ["DJEM_TEST_WORLD"]))
            return
        if EXAMPLES:
            print(f"DJEM_TEST_EXAMPLES={EXAMPLES} DJEM_TEST_SEED={SEED}")
        check_many(compare, EXAMPLES or 5, SEED, worlds())
