"""The system checks of query forms, and of databases that list more than a check grants."""

import os
from collections import abc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from django.core.checks import INFO, Tags, run_checks
from django.db import connection, connections, models
from django.db.models import Case, Exists, Q, QuerySet
from django.db.models.expressions import BaseExpression, Combinable

from djem_async.access import without_model_level
from tests import test_checks as checks
from tests.checks import amethod, ids, make, method
from tests.conftest import decorated
from tests.test_checks import no_argument
from tests.testapp.models import Supplier, User

pytestmark = pytest.mark.django_db(databases=["default", "other"])

FORM = "_quser_can_view_item"


def form(cls, argument):
    return Q()


async def aform(cls, argument):
    return Q()


MISTAKES = [
    *(("E002", classmethod(each)) for each in (no_argument, checks.two_arguments)),
    ("E002", classmethod(checks.keyword_argument)),
    *(("E005", each) for each in (None, "allow", property(lambda self: Q()))),
    *(("E006", each) for each in (form, staticmethod(max), checks.Granting(), decorated(aform))),
    *(("E007", classmethod(each)) for each in (aform, decorated(aform))),
]
HINTS = {
    "E002": "def {name}(cls, {argument})",
    "E005": "a class method that takes the {argument}",
    "E006": "`@classmethod` above `def {name}(cls, {argument})`",
    "E007": "`def`",
}


@pytest.mark.parametrize(("number", "wrong"), MISTAKES)
@pytest.mark.parametrize(("source", "argument"), [("user", "user"), ("group", "groups")])
def test_query_form_that_cannot_work_is_an_error(find_in, source, argument, number, wrong):
    name = f"_q{source}_can_view_item"
    (message,) = find_in(**{name: wrong})
    assert ids([message]) == [number]
    assert f"Item.{name}" in message.msg
    assert HINTS[number].format(name=name, argument=argument) in message.hint


@pytest.mark.parametrize("right", [form, decorated(form), lambda cls, *args, more=None: True])
def test_class_method_with_one_argument_is_right(find_in, right):
    assert find_in(_quser_can_view_item=classmethod(right)) == []


def test_query_form_for_an_unknown_permission_is_a_warning(find_in):
    (message,) = find_in(_qgroup_can_veiw_item=classmethod(form))
    assert ids([message]) == ["W001"]
    assert "Did you mean 'view_item'?" in message.msg


CONDITIONS = [
    *(Q, "Q", Exists, Case, Combinable, BaseExpression, bool, "None", Q | None, Q | Exists | bool),
    *(Literal[True], Literal[False, None], Any, "Decimal"),
]
NO_CONDITIONS = [
    *(str, "str", int, object, QuerySet, QuerySet[User], type[Q], list[Q], Q | str, Literal["x"]),
    *(abc.Awaitable[Q], abc.Coroutine[Any, Any, Q], abc.Awaitable[bool]),
]


@pytest.mark.parametrize(
    ("place", "annotation", "is_right"),
    [
        *(("return", each, True) for each in CONDITIONS),
        *(("return", each, False) for each in NO_CONDITIONS),
        *(("argument", User, True), ("argument", Supplier, False)),
    ],
)
def test_annotations_of_a_query_form_are_checked(find_in, place, annotation, is_right):
    def access_method(cls, argument):
        return True

    access_method.__annotations__ = {place: annotation}
    messages = find_in(_quser_can_view_item=classmethod(access_method))
    assert ids(messages) == ([] if is_right else ["W008"])
    for message in messages:
        assert ("conditional expression" in message.msg) is (place == "return")
        assert f"{__file__}:{access_method.__code__.co_firstlineno}" in message.msg


WITH_QUERY = type("WithQuery", (), {FORM: classmethod(form)})
WITH_BOTH = type("WithBoth", (WITH_QUERY,), {"_user_can_view_item": method})
OVERRIDING = type("Overriding", (), {"_user_can_view_item": method})


@pytest.mark.parametrize(
    ("bases", "names", "hiding"),
    [
        ((WITH_QUERY,), ["_user_can_view_item"], "Item overrides _user_can_view_item"),
        ((WITH_QUERY,), ["_auser_can_view_item"], "Item overrides _auser_can_view_item"),
        ((OVERRIDING, WITH_QUERY), [], "Overriding overrides _user_can_view_item"),
        ((WITH_BOTH,), [], "WithBoth overrides _user_can_view_item"),
        ((WITH_QUERY, OVERRIDING), [], None),
        ((WITH_QUERY,), ["_group_can_view_item"], None),
        ((WITH_QUERY,), ["_user_can_view_item", FORM], None),
        ((WITH_BOTH,), [FORM], None),
        ((), ["_user_can_view_item", FORM], None),
    ],
)
def test_query_form_behind_a_nearer_python_form_is_a_warning(find_in, bases, names, hiding):
    attributes = {name: amethod if "_a" in name else method for name in names}
    if FORM in names:
        attributes[FORM] = classmethod(form)
    messages = find_in(*bases, models.Model, **attributes)
    assert ids(messages) == (["W009"] if hiding else [])
    for message in messages:
        assert f"Item.{FORM} isn't used, because {hiding} without it" in message.msg
        assert f"Define {FORM} in {hiding.partition(' ')[0]} as well" in message.hint


# W011: misspelt prefixes

PUBLIC = {"user_can_": "_user_can_", "auser_can_": "_auser_can_", "groups_can_": "_group_can_"}
MISSPELT = PUBLIC | {
    wrong: right
    for right, mistakes in {
        "_quser_can_": "_q_user_can_ _aquser_can_ _aq_user_can_ _query_user_can_ quser_can_",
        "_qgroup_can_": "_q_group_can_ qgroup_can_",
        "_user_can_": "_users_can_ _usr_can_ _usercan_ _Item__user_can_",
        "_group_can_": "_gruop_can_ _groups_can_",
        "_auser_can_": "_async_user_can_",
    }.items()
    for wrong in mistakes.split()
}
HELPERS = [
    *("can_", "_can_", "check_user_can_", "_check_user_can_", "_owner_can_", "_superuser_can_"),
    *("_is_user_can_", "_why_can_user_", "_", ""),
]


@pytest.mark.parametrize(("wrong", "right"), MISSPELT.items())
@pytest.mark.parametrize("kind", [lambda each: each, classmethod, decorated])
def test_misspelt_prefix_is_a_warning(find_in, kind, wrong, right):
    (message,) = find_in(**{f"{wrong}change_item": kind(method)})
    assert ids([message]) == ["W011"]
    assert f"Item.{wrong}change_item is not" in message.msg
    assert "'change_item' may be open" in message.msg
    assert message.msg.endswith(f" Did you mean {right}change_item?")
    assert f"{__file__}:" in message.msg or "checks.py:" in message.msg
    assert f"`{right}change_item`" in message.hint


def test_misspelt_prefix_is_found_in_a_base_and_with_the_longest_codename(find_in):
    mixin = type("Mixin", (), {"_users_can_re_sell": method})
    permissions = [("sell", "Can sell"), ("re_sell", "Can sell again")]
    (message,) = find_in(mixin, models.Model, meta={"permissions": permissions})
    assert message.msg.endswith(" Did you mean _user_can_re_sell?")


ATTRIBUTES = (True, property(lambda self: True), models.BooleanField())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((f"{name}change_item", method) for name in HELPERS),
        *((f"{name}paint_item", method) for name in MISSPELT),
        *((f"{name}change_item", each) for name in MISSPELT for each in ATTRIBUTES),
    ],
)
def test_helpers_attributes_and_other_permissions_are_no_misspellings(find_in, name, value):
    assert find_in(**{name: value}) == []


@pytest.mark.parametrize("wrong", PUBLIC)
@pytest.mark.parametrize("right", [FORM, "_group_can_view_item", None])
def test_public_method_may_help_an_access_method_or_a_template(find_in, wrong, right):
    helper = no_argument if right is None else method
    decides = {right: classmethod(form) if right == FORM else method} if right else {}
    assert find_in(**{f"{wrong}view_item": helper}, **decides) == []


def test_private_misspelling_is_found_next_to_an_access_method(find_in):
    (message,) = find_in(_user_can_view_item=method, _q_user_can_view_item=classmethod(form))
    assert message.msg.endswith(f" Did you mean {FORM}?")


# W010: MariaDB


def find_databases(databases: list[str] | None) -> list[Any]:
    found = run_checks(tags=[Tags.database], databases=databases)
    return [message for message in found if message.id == "djem_async.W010"]


@contextmanager
def answering(answer: int) -> Iterator[SimpleNamespace]:
    yield SimpleNamespace(execute=lambda sql: None, fetchone=lambda: (answer,))


@pytest.fixture
def serve(monkeypatch) -> Callable[..., None]:
    """Let both databases seem to be on a server that is asked about its cache."""

    def serve(*, is_mariadb: bool, answer: int) -> None:
        for alias in connections:
            server = connections[alias]
            monkeypatch.setattr(server, "mysql_is_mariadb", is_mariadb, raising=False)
            monkeypatch.setattr(server, "cursor", lambda: answering(answer))
            monkeypatch.setattr(server.validation, "check", lambda **_: [])

    return serve


@pytest.mark.parametrize("has_form", [True, False])
@pytest.mark.parametrize(
    ("is_mariadb", "answer", "databases", "count"),
    [
        (True, 1, ["default", "other"], 2),
        (True, 1, [], 0),
        (True, 0, ["default"], 0),
        (False, 1, ["default"], 0),
    ],
)
def test_mariadb_that_caches_by_collation_is_a_warning_if_a_model_has_a_query_form(
    access_methods, serve, has_form, is_mariadb, answer, databases, count
):
    if has_form:
        access_methods(Supplier, _qgroup_can_view_supplier=classmethod(form))
    serve(is_mariadb=is_mariadb, answer=answer)
    messages = find_databases(databases)
    assert ids(messages) == ["W010"] * (count if has_form else 0)
    for message, alias in zip(messages, databases, strict=False):
        assert repr(alias) in message.msg
        assert "Supplier" in message.msg
        assert "subquery_cache=off" in message.hint


class NothingOnDefault:
    def allow_migrate(self, db: str, *args: Any, **hints: Any) -> bool:
        return db != "default"


def test_query_forms_matter_on_the_databases_of_their_models(access_methods, serve, settings):
    access_methods(Supplier, _qgroup_can_view_supplier=classmethod(form))
    serve(is_mariadb=True, answer=1)
    settings.DATABASE_ROUTERS = [NothingOnDefault()]
    (message,) = find_databases(["default", "other"])
    assert "'other'" in message.msg


@pytest.mark.skipif(
    os.environ.get("DJEM_TEST_DB") != "mariadb", reason="asks the server for its settings"
)
def test_mariadb_says_whether_it_caches_by_collation(access_methods):
    access_methods(Supplier, _qgroup_can_view_supplier=classmethod(form))
    with connection.cursor() as cursor:
        for switch in ("on", "off", "default"):
            cursor.execute(f"SET SESSION optimizer_switch = 'subquery_cache={switch}'")
            assert len(find_databases(["default"])) == (switch != "off")


# E008, I002: marks


def test_forms_that_are_marked_differently_are_an_error(find_in):
    found = find_in(
        _user_can_view_item=without_model_level(lambda self, user: True),
        _quser_can_view_item=classmethod(lambda cls, user: True),
        _group_can_view_item=without_model_level(lambda self, groups: True),
    )
    assert [message.id for message in found] == ["djem_async.E008"]
    assert "_user_can_view_item and _quser_can_view_item of Item" in found[0].msg


def test_methods_that_grant_without_the_model_level_are_named(find_in):
    form = without_model_level(anonymous=True)(classmethod(lambda cls, user: True))
    (message,) = find_in(
        _user_can_view_item=without_model_level(anonymous=True)(lambda self, user: True),
        _quser_can_view_item=form,
        _group_can_view_item=without_model_level(lambda self, groups: True),
        _user_can_change_item=lambda self, user: True,
    )
    assert (message.id, message.level) == ("djem_async.I002", INFO)
    also = " (also to visitors)"
    names = f"_group_can_view_item, _quser_can_view_item{also}, _user_can_view_item{also}"
    assert message.msg.endswith(f"level: {names}.")


def test_marked_methods_are_named_for_the_model_that_defines_them(find_in):
    parent = make(_user_can_view_item=without_model_level(lambda self, user: True))
    found = find_in(parent, meta={"proxy": True, "default_permissions": ()}, name="Child")
    assert [(message.id, message.obj) for message in found] == [("djem_async.I002", parent)]


def test_a_mark_in_a_parent_that_is_overridden_does_not_count(find_in):
    class Parent:
        _user_can_view_item = without_model_level(lambda self, user: True)

    class Child(Parent):
        async def _auser_can_view_item(self, user: object) -> bool:
            return True

    assert find_in(Child, models.Model) == []
