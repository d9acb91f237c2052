"""Where lists by permission go wrong, in other libraries and in rules.

In each test, a list has just what checks grant, and that is the right thing. Where a rule does
not do what it seems to say, the test shows what it does instead.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import copy
from typing import Any

import pytest
from django import VERSION
from django.contrib.auth.models import Group
from django.db import connection, connections
from django.db.models import Case, Count, Exists, F, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce
from django.test.utils import CaptureQueriesContext

from djem_async import shortcuts
from djem_async.shortcuts import get_objects_for_user, permitted
from djem_async.test import assert_lists_agree
from tests.conftest import Api, grant
from tests.testapp.models import CompositeThing, Memo, Page, PageProxy, SpecialPage, User

PERM = "testapp.read_page"
MEMO_PERM = "testapp.read_memo"
COMPOSITE_PERM = "testapp.view_compositething"
NULL = ["null"] if VERSION < (6, 1) else []
LATER = Q(tenant=OuterRef("tenant"), number__gt=OuterRef("number"))
ROW = Q(pk=OuterRef("pk"))


@pytest.fixture
def user(db: None) -> User:
    user = User.objects.create_user("reader", first_name="staff")
    return grant(user, PERM, MEMO_PERM, COMPOSITE_PERM)


@pytest.fixture
def rule(access_methods: Callable[..., None]) -> Callable[..., None]:
    """Give a class query forms for one test: ``rule(lambda user: Q(…))``."""

    def give(form: Callable[[Any], Any], model: type = Page, source: str = "user") -> None:
        codename = {Memo: "read_memo", CompositeThing: "view_compositething"}.get(
            model, "read_page"
        )
        method = classmethod(lambda cls, argument: form(argument))
        access_methods(model, **{f"_q{source}_can_{codename}": method})

    return give


def granted(api: Api, user: User, rows: Any, perm: str = PERM) -> list[str]:
    """Return what a user is granted among rows, in the order of their names.

    All ways to ask have to agree, and each to give a row once.
    """
    model = rows.model
    objects = list(rows)
    checked = [obj.pk for obj in objects if api(copy(user)).has_perm(perm, obj)]
    condition = api(shortcuts).permitted(copy(user), perm, model)
    told = rows.annotate(
        yes=condition, no=~condition, case=Case(When(condition, then=Value(1)), default=Value(0))
    )
    prefetched = copy(user)
    api(prefetched).prefetch_perms([perm], objects)
    answers = {
        "list": [obj.pk for obj in api(shortcuts).get_objects_for_user(copy(user), perm, rows)],
        "filter": [obj.pk for obj in rows.filter(condition)],
        "exclude": [obj.pk for obj in rows.exclude(~condition)],
        "yes": [obj.pk for obj in told if obj.yes is True],
        "no": [obj.pk for obj in told if obj.no is not False],
        "case": [obj.pk for obj in told if obj.case == 1],
        "prefetched": [obj.pk for obj in objects if prefetched.has_perm(perm, obj)],
    }
    assert rows.filter(condition).count() == len(checked)
    denied = sorted({obj.pk for obj in objects} - set(checked))
    for way, found in answers.items():
        assert sorted(found) == (denied if way == "no" else sorted(checked)), way
    return sorted(str(obj) for obj in objects if obj.pk in checked)


def create_pages(**ranks: int | None) -> dict[str, Page]:
    return {title: Page.objects.create(title=title, rank=rank) for title, rank in ranks.items()}


# Null


def test_none_of_the_user_lists_what_belongs_to_nobody(api, user, rule):
    create_pages(nobodys=None, first=1)
    rule(lambda user: Q(rank=user.tenant))
    user.tenant = None
    assert granted(api, user, Page.objects.all()) == ["nobodys"]
    rule(lambda user: user.tenant is not None and Q(rank=user.tenant))
    assert granted(api, user, Page.objects.all()) == []


@pytest.mark.parametrize(
    ("condition", "titles"),
    [
        # From Django 6.1, a null is not among the others.
        (~Q(rank__in=[None]), ["child of null", "first", *NULL, "second"]),
        (~Q(rank__in=[None, 1]), ["child of null", *NULL, "second"]),
        # A null in the subquery: whether a rank is none of them is unknown.
        (~Q(rank__in=Page.objects.values("rank")), ["null"]),
        (~Q(rank__gt=1), ["first", "null"]),
        (~Q(rank__lt=F("parent__rank")), ["child of null", "first", "null", "second"]),
        (Q(Q(rank=1), _negated=True), ["child of null", "null", "second"]),
        # Absent parents: second is the child of first.
        (Q(parent__rank=None), ["child of null", "first", "null"]),
        (~Q(parent__rank=1), ["child of null", "first", "null"]),
        (~Q(parent__rank=None), ["second"]),
        (Q(parent__owner=None, parent__isnull=False, rank=5), ["child of null"]),
        (~Q(parent__parent__rank=1) & Q(rank=2), ["second"]),
        (Q(rank__in=[F("parent__rank"), 1]) | Q(title="other"), ["first"]),
        (Q(rank=Coalesce(F("parent__rank"), 1)) | Q(title="other"), ["first"]),
        (
            Q(parent__owner__date_joined__year=2000) | Q(parent__rank=None, rank=5),
            ["child of null"],
        ),
    ],
)
def test_nulls_and_absent_parents_are_granted_as_filter_has_it(api, user, rule, condition, titles):
    pages = create_pages(null=None, first=1)
    Page.objects.create(title="second", parent=pages["first"], rank=2)
    Page.objects.create(title="child of null", parent=pages["null"], rank=5)
    rule(lambda user: condition)
    assert sorted(page.title for page in Page.objects.filter(condition)) == titles
    assert granted(api, user, Page.objects.all()) == titles


# Relations to many


@pytest.fixture
def edited(user: User) -> dict[str, Page]:
    """Pages by their editors: the user, someone on the staff, both, and two on the staff."""
    staff = [User.objects.create_user(f"staff {number}", is_staff=True) for number in range(2)]
    pages = create_pages(user=1, staff=1, both=1, two=1, none=1)
    pages["user"].editors.add(user)
    pages["staff"].editors.add(staff[0])
    pages["both"].editors.add(user, staff[0])
    pages["two"].editors.add(*staff)
    return pages


@pytest.mark.parametrize(
    ("form", "titles"),
    [
        # Of one editor, also where the conditions are joined by `&`.
        (lambda user: Q(editors=user) & Q(editors__is_staff=True), ""),
        (lambda user: Q(editors=user) & Q(pk__in=staffed()), "both"),
        (lambda user: Q(editors=user) | Q(editors__is_staff=True), "both staff two user"),
        (lambda user: Q(title="none") | Exists(user.edited.filter(ROW)), "both none user"),
        # Without a reference to the row, a subquery holds for all rows or for none.
        (lambda user: Exists(user.edited.all()), "both none staff two user"),
        (lambda user: Exists(user.edited.filter(ROW)), "both user"),
        (lambda user: Q(rank__lte=F("editors__pk")), "both staff two user"),
        # Negated alone, it is of all editors; next to a condition, of that one editor.
        (lambda user: ~(Q(editors=user) | Q(editors__is_staff=True)), "none"),
        (lambda user: ~(Q(editors=user) & Q(rank=1)), "none staff two"),
        (lambda user: ~Q(editors=None), "both staff two user"),
        (lambda user: Q(editors__is_staff=True) & ~Q(editors=user), "both staff two"),
        (lambda user: Q(pk__in=staffed()) & ~Q(editors=user), "staff two"),
        (lambda user: Q(editors__is_staff=True) | ~Q(editors__isnull=False), "both none staff two"),
    ],
)
def test_conditions_on_many_related_rows(api, user, rule, edited, form, titles):
    rule(form)
    assert granted(api, user, Page.objects.all()) == titles.split()
    # Of the user's own joins and groups, none is disturbed.
    rows = Page.objects.annotate(amount=Count("editors")).filter(amount__gt=0)
    edited_ones = [title for title in titles.split() if title != "none"]
    assert granted(api, user, rows) == edited_ones
    amounts = {row.title: row.amount for row in get_objects_for_user(user, PERM, rows)}
    assert amounts == {title: 1 + (title in ("both", "two")) for title in edited_ones}


def staffed() -> Any:
    return Page.objects.filter(editors__is_staff=True)


# Text


@pytest.fixture
def names(db: None) -> list[str]:
    titles = ["STAFF", "Staff", "other", "staff", "staff "]
    Page.objects.bulk_create(Page(title=title) for title in titles)
    return titles


IGNORES_CASE = {"sqlite": ["contains"], "mysql": ["exact"], "postgresql": []}


@pytest.mark.parametrize("lookup", ["exact", "contains"])
def test_text_is_compared_by_the_database(api, user, rule, access_methods, names, lookup):
    rule(lambda user: Q(**{f"title__{lookup}": user.first_name}))
    ignores_case = lookup in IGNORES_CASE[connection.vendor]
    titles = ["STAFF", "Staff", "staff"] if ignores_case else ["staff"]
    # MariaDB's default collation also ignores spaces at the end.
    if lookup == "contains" or ignores_case:
        titles.append("staff ")
    assert granted(api, user, Page.objects.all()) == titles

    def in_python(self: Page, user: User) -> bool:
        return self.title == user.first_name if lookup == "exact" else user.first_name in self.title

    access_methods(Page, _user_can_read_page=in_python)
    is_found = pytest.raises(AssertionError, match=r"listed, but denied by a check: .*Staff")
    with is_found if ignores_case else nullcontext():
        assert_lists_agree(PERM, [user], Page.objects.all())


@contextmanager
def caching_subqueries(switch: str) -> Iterator[None]:
    """Switch MariaDB's cache for subqueries."""
    if connection.vendor != "mysql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION optimizer_switch = 'subquery_cache={switch}'")
        try:
            yield
        finally:
            cursor.execute("SET SESSION optimizer_switch = DEFAULT")


@pytest.mark.parametrize("switch", ["on", "off"])
def test_subquery_cache_of_mariadb_lists_too_much(user, rule, switch):
    """It takes results for one text as those for all that are equal by its collation."""
    if connection.vendor != "mysql":
        pytest.skip("MariaDB caches subqueries so")
    for title in ("staff", "Staff", "STAFF"):
        Page.objects.create(title=title)
    rule(lambda user: Exists(User.objects.filter(first_name__contains=OuterRef("title"))))
    with caching_subqueries(switch):
        listed = {page.title for page in get_objects_for_user(user, PERM, Page)}
    checked = {page.title for page in Page.objects.all() if user.has_perm(PERM, page)}
    assert checked == {"staff"}
    assert (listed == checked) is (switch == "off")


# Rows that are hidden, changed or stale


def test_rows_that_managers_hide_are_granted_by_their_own_rule(api, user, rule):
    for text, is_hidden in (("shown", False), ("hidden", True)):
        page = Page.objects.create(title=text)
        Memo.everything.create(text=text, is_hidden=is_hidden, page=page)
    memos = list(Memo.everything.all())
    # An expression, and a column: one becomes a subquery, the other doesn't.
    for condition in (Q(page__title__in=["shown", "hidden"]), Q(text__gt="")):
        rule(lambda user, condition=condition: condition, Memo)
        assert granted(api, user, Memo.everything.all(), MEMO_PERM) == ["hidden", "shown"]
        assert granted(api, user, Memo.objects.all(), MEMO_PERM) == ["shown"]
        assert get_objects_for_user(user, MEMO_PERM).get().text == "shown"
        assert not get_objects_for_user(user, MEMO_PERM, page.memos).exists()
        api(known := copy(user)).has_perm(MEMO_PERM)
        with CaptureQueriesContext(connection) as queries:
            api(known).prefetch_perms([MEMO_PERM], memos)
        assert len(queries) == 1
    # Joins see all rows, where related managers do not.
    rule(lambda user: Q(memos__isnull=False))
    assert granted(api, user, Page.objects.all()) == ["hidden", "shown"]
    rule(lambda user: Exists(Memo.objects.filter(page=OuterRef("pk"))))
    assert granted(api, user, Page.objects.all()) == ["shown"]


@pytest.mark.parametrize(
    "form", [lambda user: Q(text=""), lambda user: True, lambda user: Q(page__owner=None)]
)
def test_rows_that_a_base_manager_hides_are_nobodys(api, user, rule, form, monkeypatch):
    monkeypatch.setattr(Memo._meta, "base_manager", Memo.objects)
    rule(form, Memo)
    memos = [Memo.everything.create(is_hidden=is_hidden) for is_hidden in (True, False)]
    assert [api(user).has_perm(MEMO_PERM, memo) for memo in memos] == [False, True]
    for rows in (
        api(shortcuts).get_objects_for_user(user, MEMO_PERM, Memo.everything),
        Memo.everything.filter(api(shortcuts).permitted(user, MEMO_PERM, Memo)),
    ):
        assert list(rows) == memos[1:]


def test_time_is_that_of_the_building_of_a_list(api, user, rule):
    create_pages(past=1, future=2)
    now = [1]
    rule(lambda user: Q(rank__lte=now[0]))
    listed = api(shortcuts).get_objects_for_user(user, PERM, Page)
    now[0] = 2
    assert [page.title for page in listed] == [page.title for page in listed.all()] == ["past"]
    assert granted(api, user, Page.objects.all()) == ["future", "past"]


def test_deferred_fields_are_not_loaded(api, user, rule):
    create_pages(first=1, second=2)
    for form in (lambda user: Q(rank=1), lambda user: Q(owner=F("parent__owner")) | Q(rank=1)):
        rule(form)
        for rows in (Page.objects.only("title"), Page.objects.defer("rank", "owner")):
            assert granted(api, user, rows) == ["first"]
            page = get_objects_for_user(user, PERM, rows).get()
            assert "rank" in page.get_deferred_fields()
            api(user := copy(user)).has_perm(PERM)
            with CaptureQueriesContext(connection) as queries:
                assert api(user).has_perm(PERM, page)
            assert len(queries) == 1
            assert "rank" in page.get_deferred_fields()


# Models


def test_proxies_children_and_parents_have_their_own_rules(api, user, rule):
    for number in (1, 2):
        SpecialPage.objects.create(title=f"special {number}", rank=number, note=f"note {number}")
    create_pages(plain=1)
    rule(lambda user: Q(rank=1))
    assert granted(api, user, Page.objects.all()) == ["plain", "special 1"]
    assert granted(api, user, PageProxy.objects.all()) == ["plain", "special 1"]
    assert granted(api, user, SpecialPage.objects.all()) == ["special 1"]
    # By a column of the child, of the parent, and both ways between the two.
    rule(lambda user: Q(note="note 2"), SpecialPage)
    rule(lambda user: Q(specialpage__note="note 2"), PageProxy)
    assert granted(api, user, SpecialPage.objects.all()) == ["special 2"]
    assert granted(api, user, PageProxy.objects.all()) == ["special 2"]
    assert granted(api, user, Page.objects.all()) == ["plain", "special 1"]
    rule(lambda user: Q(page_ptr__rank=2) & ~Q(page_ptr__editors=user), SpecialPage)
    assert granted(api, user, SpecialPage.objects.all()) == ["special 2"]
    # One row, as an object of each class: each is decided by its own rule.
    kinds = (Page, PageProxy, SpecialPage)
    objects = [kind._base_manager.get(title="special 1") for kind in kinds]
    api(user).prefetch_perms([PERM], objects)
    assert [user.has_perm(PERM, obj) for obj in objects] == [True, False, False]
    assert get_objects_for_user(user, PERM, SpecialPage).update(rank=5, note="changed") == 1
    assert SpecialPage.objects.get(note="changed").rank == 5


@pytest.mark.parametrize(
    ("form", "names"),
    [
        (lambda user: Q(tenant=1), ["(1, 1)", "(1, 2)"]),
        (lambda user: Q(tenant=F("number")), ["(1, 1)", "(2, 2)"]),
        (lambda user: Q(pk=(1, 2)) | Q(pk__in=[(2, 1), (3, 3)]), ["(1, 2)", "(2, 1)"]),
        (lambda user: ~Q(pk__in=[(1, 1)]), ["(1, 2)", "(2, 1)", "(2, 2)"]),
        (lambda user: Exists(CompositeThing.objects.filter(LATER)), ["(1, 1)", "(2, 1)"]),
    ],
)
def test_rows_with_composite_keys(api, user, rule, monkeypatch, form, names):
    monkeypatch.setattr(CompositeThing, "__str__", lambda self: str(self.pk))
    CompositeThing.objects.bulk_create(
        CompositeThing(tenant=tenant, number=number) for tenant in (1, 2) for number in (1, 2)
    )
    rule(form, CompositeThing)
    assert granted(api, user, CompositeThing.objects.all(), COMPOSITE_PERM) == names


def test_many_rows_with_composite_keys_are_prefetched(api, user, rule):
    CompositeThing.objects.bulk_create(
        CompositeThing(tenant=number % 2, number=number) for number in range(1100)
    )
    rule(lambda user: Q(tenant=1), CompositeThing)
    things = list(CompositeThing.objects.all())
    api(user).prefetch_perms([COMPOSITE_PERM], things)
    with CaptureQueriesContext(connection) as queries:
        assert sum(user.has_perm(COMPOSITE_PERM, thing) for thing in things) == 550
    assert not queries.captured_queries


# Writes


@pytest.mark.parametrize(
    "form",
    [
        lambda user: Q(title__in=["both", "two"]),
        lambda user: Q(editors__is_staff=True) & ~Q(title="staff"),
        lambda user: Q(pk__in=staffed()) & ~Q(title="staff"),
        lambda user: Exists(staffed().filter(pk=OuterRef("pk")).exclude(title="staff")),
    ],
)
def test_updates_and_deletes_concern_what_is_granted(api, user, rule, edited, form):
    rule(form)
    listed = get_objects_for_user(user, PERM, Page)
    condition = permitted(user, PERM, Page)
    assert listed.update(rank=2) == Page.objects.filter(condition).update(rank=F("rank") + 1) == 2
    assert {page.title for page in Page.objects.filter(rank=3)} == {"both", "two"}
    case = Case(When(condition, then=Value(5)), default=Value(0))
    assert Page.objects.update(rank=case) == 5
    assert {page.title for page in Page.objects.filter(rank=5)} == {"both", "two"}
    assert listed.count() == 2
    deleted = listed if api.mode == "sync" else Page.objects.filter(condition)
    assert deleted.delete()[1]["testapp.Page"] == 2
    assert {page.title for page in Page.objects.all()} == {"user", "staff", "none"}


def test_raw_delete_concerns_what_is_granted(user, rule):
    """`QuerySet.delete` of a model that nothing depends on is one statement."""
    for text in ("keep", "remove"):
        Memo.objects.create(text=text, page=Page.objects.create(title=text))
    rule(lambda user: Q(page__title="remove"), Memo)
    for condition in (permitted(user, MEMO_PERM, Memo), ~permitted(user, MEMO_PERM, Memo)):
        assert Memo.objects.filter(condition).delete()[0] == 1
        if Memo.objects.exists():
            assert [memo.text for memo in Memo.objects.all()] == ["keep"]


# Databases


class ReadsElsewhere:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "other" if model is Page else None


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("is_routed", [False, True])
def test_rows_of_a_replica_are_decided_there(api, user, rule, settings, is_routed):
    if is_routed:
        settings.DATABASE_ROUTERS = [f"{__name__}.ReadsElsewhere"]
    user.groups.add(team := Group.objects.create(pk=7, name="team"))
    for each in (user, team):
        copy(each).save(using="other", force_insert=True)
    User.groups.through.objects.using("other").create(user_id=user.pk, group_id=7)
    for alias in ("default", "other"):
        for pk, rank in ((1, 1), (2, 2), (3, 3)):
            rank = rank if alias == "other" else 4 - rank  # the other way round
            page = Page(pk=pk, title=f"{alias} {rank}", rank=rank, owner_id=user.pk)
            page.parent_id = 1 if pk == 2 else None
            page.save(using=alias, force_insert=True)
            if rank == 1:
                page.editors.through.objects.using(alias).create(page=page, user_id=user.pk)
                page.teams.through.objects.using(alias).create(page=page, group_id=7)
    rows = Page.objects.all() if is_routed else Page.objects.using("other")
    for form in (
        lambda user: Q(rank=1),
        lambda user: Q(editors=user),
        lambda user: Q(teams__in=user.groups.all()),
        lambda user: Q(rank=1, pk__in=user.pages.all()),
        lambda user: Exists(user.edited.filter(pk=OuterRef("pk"))),
    ):
        rule(form)
        with CaptureQueriesContext(connections["default"]) as queries:
            assert granted(api, user, rows) == ["other 1"]
        assert not any("testapp_page" in query["sql"] for query in queries.captured_queries)
        assert granted(api, user, Page.objects.using("default")) == ["default 1"]
    # One call for the rows of both, whose keys are the same.
    both = [*Page.objects.using("default"), *Page.objects.using("other")]
    api(user).prefetch_perms([PERM], both)
    assert [str(page) for page in both if user.has_perm(PERM, page)] == ["default 1", "other 1"]
    rule(lambda user: Q(parent__in=Page.objects.using("default")))
    for ask in (
        lambda: list(get_objects_for_user(user, PERM, Page.objects.using("other"))),
        lambda: copy(user).has_perm(PERM, Page.objects.using("other").get(pk=1)),
    ):
        with pytest.raises(ValueError, match="aren't allowed across different databases"):
            ask()
