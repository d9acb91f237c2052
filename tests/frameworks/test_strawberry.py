"""strawberry-graphql-django: fields return what checks grant, in sync and async execution."""

from __future__ import annotations

import random
import re
from copy import copy
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import strawberry
import strawberry_django
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from strawberry.extensions import FieldExtension
from strawberry.relay import to_base64
from strawberry_django import mutations
from strawberry_django.optimizer import DjangoOptimizerExtension

from djem_async.contrib.strawberry import HasObjectPermission
from djem_async.exceptions import NoQueryFormError
from tests.frameworks.models import Box, Shelf
from tests.frameworks.schema import AnyBox, BoxPatch, async_schema, schema

PERMS = ["view_box", "view_shelf", "change_box", "change_post", "delete_box", "add_box"]
VIEW, CHANGE = "frameworks.view_box", "frameworks.change_box"


class Executor(NamedTuple):
    mode: str
    is_optimized: bool

    def __call__(self, query: str, user: Any, schema: Any = schema, **values: Any) -> Any:
        # As in a request: nothing is remembered of the user.
        if user.pk is not None:
            user = get_user_model().objects.get(pk=user.pk)
        context = SimpleNamespace(request=SimpleNamespace(user=user))
        arguments = {"variable_values": values, "context_value": context}
        if self.is_optimized:
            return self.execute(schema, query, arguments)
        with DjangoOptimizerExtension.disabled():
            return self.execute(schema, query, arguments)

    def execute(self, schema: Any, query: str, arguments: dict[str, Any]) -> Any:
        if self.mode == "sync":
            return schema.execute_sync(query, **arguments)
        return async_to_sync(schema.execute)(query, **arguments)

    def data(self, query: str, user: Any, **values: Any) -> Any:
        result = self(query, user, **values)
        assert not result.errors, result.errors
        return result.data

    def error(self, query: str, user: Any, schema: Any = schema, **values: Any) -> Exception:
        result = self(query, user, schema, **values)
        assert result.errors
        error = result.errors[0].original_error
        assert isinstance(error, Exception)
        return error


@pytest.fixture(params=["sync", "async"])
def mode(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["optimized", "plain"])
def execute(request, mode, db):
    return Executor(mode, request.param)


@pytest.fixture
def world(request, user_with, settings):
    """Shelves and boxes of several users, those who have the model level and those who don't."""
    chance = random.Random(getattr(request, "param", 0))
    users = [user_with(f"u{number}", *PERMS) for number in range(3)]
    users += [user_with("none"), user_with("root", is_superuser=True)]
    users += [user_with("gone", *PERMS, is_active=False), AnonymousUser()]
    for _ in range(4):
        shelf = Shelf.objects.create(owner=chance.choice(users[:5]))
        for _ in range(chance.randrange(5)):
            owner = chance.choice([None, *users[:5]])
            Box.objects.create(shelf=shelf, owner=owner, is_open=chance.random() < 0.3)
    return users


def granted(user: Any, perm: str, rows: Any) -> list[int]:
    return [row.pk for row in rows if user.has_perm(perm, row)]


def pks(rows: list[dict[str, Any]]) -> list[int]:
    return [row["pk"] for row in rows]


def edges(connection: dict[str, Any]) -> list[int]:
    return [edge["node"]["pk"] for edge in connection["edges"]]


@pytest.mark.parametrize("world", range(2), indirect=True)
def test_lists_have_what_checks_grant(execute, world):
    boxes = list(Box.objects.order_by("pk"))
    for user in world:
        want = granted(user, VIEW, boxes)
        data = execute.data(
            """{
                boxes(ordering: {pk: ASC}) { pk }
                closed: boxes(ordering: {pk: ASC}, filters: {isOpen: false}) { pk }
                sliced: boxes(ordering: {pk: ASC}, pagination: {offset: 1, limit: 2}) { pk }
                connection(ordering: {pk: ASC}) { totalCount edges { node { pk } } }
                first: connection(ordering: {pk: ASC}, first: 2, after: "YXJyYXljb25uZWN0aW9uOjA=")
                    { totalCount edges { node { pk } } }
                page(ordering: {pk: ASC}, pagination: {offset: 1, limit: 2})
                    { totalCount results { pk } }
                byResolver { pk } byPlainResolver { pk } fetched { pk }
            }""",
            user,
        )
        assert pks(data["boxes"]) == want
        assert pks(data["closed"]) == [pk for pk in want if not Box.objects.get(pk=pk).is_open]
        assert pks(data["sliced"]) == pks(data["page"]["results"]) == want[1:3]
        assert edges(data["connection"]) == want
        assert edges(data["first"]) == want[1:3]
        for counted in (data["connection"], data["first"], data["page"]):
            assert counted["totalCount"] == len(want)
        for way in ("byResolver", "byPlainResolver", "fetched"):
            assert pks(data[way]) == want


NESTED = {
    "boxes(ordering: {pk: ASC}) { pk }": lambda found: (pks(found), None),
    "boxes(ordering: {pk: ASC}, pagination: {limit: 2}) { pk }": lambda found: (pks(found), 2),
    "connection(ordering: {pk: ASC}, first: 2) { totalCount edges { node { pk } } }": (
        lambda found: (edges(found), 2)
    ),
    "cursor(ordering: {pk: ASC}, first: 2) { edges { node { pk } } }": (
        lambda found: (edges(found), 2)
    ),
    "page(ordering: {pk: ASC}, pagination: {limit: 2}) { totalCount results { pk } }": (
        lambda found: (pks(found["results"]), 2)
    ),
}


@pytest.mark.parametrize("world", range(2), indirect=True)
@pytest.mark.parametrize(("field", "read"), NESTED.items())
def test_nested_lists_have_what_checks_grant(execute, world, field, read):
    for user in world:
        for shelf in execute.data(f"{{ shelves {{ pk, found: {field} }} }}", user)["shelves"]:
            want = granted(user, VIEW, Box.objects.filter(shelf=shelf["pk"]).order_by("pk"))
            found, limit = read(shelf["found"])
            assert found == want[:limit]
            if "totalCount" in shelf["found"]:
                assert shelf["found"]["totalCount"] == len(want)


@pytest.fixture
def owned(owner):
    """A box of a user who has all permissions at the model level, like its stranger."""
    shelf = Shelf.objects.create(owner=owner)
    return Box.objects.create(shelf=shelf, owner=owner, label="mine")


@pytest.fixture
def owner(user_with):
    return user_with("owner", *PERMS)


@pytest.fixture
def stranger(user_with):
    return user_with("stranger", *PERMS)


BOX = "query($pk: ID!) { box(pk: $pk) { pk } }"


@pytest.mark.parametrize("world", range(2), indirect=True)
def test_single_objects_are_checked(execute, world):
    for user in world:
        for box in Box.objects.all():
            if user.has_perm(VIEW, box):
                assert execute.data(BOX, user, pk=box.pk) == {"box": {"pk": box.pk}}
            else:
                error = execute.error(BOX, user, pk=box.pk)
                assert isinstance(error, PermissionDenied)
                assert error.explanation.object == box.pk
                assert str(error) == "Permission denied."


def test_denial_may_be_silent(execute, owner, stranger, owned):
    query = "query($id: ID!) { maybe(id: $id) { pk } }"
    node = to_base64("Box", owned.pk)
    assert execute.data(query, owner, id=node) == {"maybe": {"pk": owned.pk}}
    assert execute.data(query, stranger, id=node) == {"maybe": None}
    assert execute.data(query, owner, id=to_base64("Box", 0)) == {"maybe": None}


def test_nodes_are_checked(execute, stranger, owned):
    other = Box.objects.create(shelf=owned.shelf, is_open=True)
    ids = [to_base64("Box", box.pk) for box in (owned, other)]
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { pk } }"
    assert execute.data(query, stranger, ids=ids) == {"nodes": [{"pk": other.pk}]}


def test_related_object_is_checked(execute, owner, stranger, owned):
    Box.objects.update(is_open=True)
    query = "query($pk: ID!) { box(pk: $pk) { shelf { pk } } }"
    assert execute.data(query, owner, pk=owned.pk)["box"]["shelf"]["pk"] == owned.shelf_id
    assert isinstance(execute.error(query, stranger, pk=owned.pk), PermissionDenied)
    listed = "{ boxes { shelf { pk } } }"
    assert execute.data(listed, owner)["boxes"] == [{"shelf": {"pk": owned.shelf_id}}]
    assert isinstance(execute.error(listed, stranger), PermissionDenied)


def test_object_of_a_field_is_checked(execute, owner, stranger, owned):
    Box.objects.update(is_open=True)
    query = "query($pk: ID!) { box(pk: $pk) { label } }"
    strict = "query($pk: ID!) { box(pk: $pk) { strictLabel } }"
    assert execute.data(query, owner, pk=owned.pk)["box"] == {"label": "mine"}
    assert execute.data(strict, owner, pk=owned.pk)["box"] == {"strictLabel": "mine"}
    assert execute.data(query, stranger, pk=owned.pk)["box"] == {"label": None}
    assert isinstance(execute.error(strict, stranger, pk=owned.pk), PermissionDenied)


def test_exception_of_an_access_method_is_an_error(execute, owner, owned, monkeypatch):
    monkeypatch.setattr(Box, "_user_can_view_box", lambda self, user: 1 / 0)
    assert isinstance(execute.error(BOX, owner, pk=owned.pk), ZeroDivisionError)


def test_reason_of_an_access_method_is_the_message(execute, owner, owned, monkeypatch):
    def deny(self: Box, user: Any) -> bool:
        raise PermissionDenied("It is closed.")

    monkeypatch.setattr(Box, "_user_can_view_box", deny)
    assert str(execute.error(BOX, owner, pk=owned.pk)) == "It is closed."


def test_list_without_a_query_form_is_an_error(execute, owner):
    assert isinstance(execute.error("{ posts { pk } }", owner), NoQueryFormError)


@pytest.mark.parametrize(
    ("query", "cure"),
    [
        ("{ text }", "HasObjectPermission can't check str. Let the field return objects"),
        ("{ mixed { pk } }", "HasObjectPermission can't check object. Let the field return"),
        ("{ withoutSource }", "To check what the field returns, use HasObjectPermission"),
        ("mutation { late(pk: 1) { pk } }", "Check in its function: `get_object_for_user"),
    ],
)
def test_what_cannot_be_checked_is_an_error(execute, owner, owned, query, cure):
    error = execute.error(query, owner)
    assert isinstance(error, ImproperlyConfigured)
    assert cure in str(error)
    assert not Box.objects.filter(label="late").exists()


def test_second_mutation_of_a_request_is_decided_anew(execute, owner, stranger, owned):
    first = f"a: update(data: {{id: {owned.pk}, owner: {stranger.pk}}}) {{ pk }}"
    second = f'b: update(data: {{id: {owned.pk}, label: "stolen"}}) {{ pk }}'
    error = execute.error(f"mutation {{ {first} {second} }}", owner)
    assert isinstance(error, PermissionDenied)
    label = owned.label
    owned.refresh_from_db()
    assert (owned.owner_id, owned.label) == (stranger.pk, label)


def test_mutation_with_a_function_is_refused_when_the_schema_is_made():
    @strawberry.type
    class Late:
        @strawberry_django.mutation(extensions=[HasObjectPermission(CHANGE)])
        def late(self) -> AnyBox:
            raise NotImplementedError

    @strawberry.type
    class Query:
        name: str = ""

    with pytest.raises(Exception, match="late") as raised:
        strawberry.Schema(Query, Late).as_str()
    assert "after it has written" in str(raised.value.__cause__ or raised.value)


def test_rows_that_a_resolver_keeps_are_decided_for_each_user(owner, stranger, owned):
    kept: list[Box] = []

    class Keep(FieldExtension):
        def resolve(self, next_: Any, source: Any, info: Any, **kwargs: Any) -> Any:
            kept[:] = next_(source, info, **kwargs)
            return list(kept)

    def resolve() -> Any:
        return kept

    can_view = HasObjectPermission("frameworks.view_box")

    @strawberry.type
    class Query:
        boxes: list[AnyBox] = strawberry_django.field(extensions=[can_view, Keep()])
        again: list[AnyBox] = strawberry_django.field(resolver=resolve, extensions=[can_view])

    execute, made = Executor("sync", is_optimized=False), strawberry.Schema(Query)
    for user, granted in ((owner, [owned.pk]), (stranger, [])):
        if granted:
            assert pks(execute("{ boxes { pk } }", user, made).data["boxes"]) == granted
        assert pks(execute("{ again { pk } }", user, made).data["again"]) == granted


def test_relation_of_two_fields_is_not_merged_into_one(execute, stranger, owned):
    """The optimizer fetches a relation once, with the filter of one of its fields."""
    open_box = Box.objects.create(shelf=owned.shelf, is_open=True)
    both = [owned.pk, open_box.pk]
    for field in (
        "boxes { pk }",
        "connection { edges { node { pk } } }",
        "page { results { pk } }",
    ):
        for query in (f"everyBox {{ pk }} {field}", f"{field} everyBox {{ pk }}"):
            result = execute(f"{{ shelves {{ {query} }} }}", stranger)
            if result.errors:
                error = result.errors[0].original_error
                assert execute.is_optimized
                assert "disable_optimization=True" in str(error)
            else:
                (shelf,) = result.data["shelves"]
                name = field.partition(" ")[0]
                text = str(shelf[name])
                assert str(owned.pk) not in re.findall(r"\d+", text)
                assert set(pks(shelf["everyBox"])) <= set(both)


def test_lists_are_fetched_in_few_queries(owner, owned, django_assert_num_queries):
    for _ in range(3):
        Box.objects.create(shelf=Shelf.objects.create(owner=owner), owner=owner)
    execute = Executor("sync", is_optimized=True)
    # The user, the permissions of the user, the shelves, and their boxes.
    with django_assert_num_queries(4):
        data = execute.data("{ shelves { boxes { pk label } } }", owner)
    assert [len(shelf["boxes"]) for shelf in data["shelves"]] == [1, 1, 1, 1]


UPDATE = "mutation($data: BoxPatch!) { update(data: $data) { pk } }"


def test_update_is_checked_first(execute, owner, stranger, owned):
    data = {"id": owned.pk, "label": "new"}
    assert isinstance(execute.error(UPDATE, stranger, data=data), PermissionDenied)
    info = "... on OperationInfo { messages { kind message } }"
    handled = f"mutation($data: BoxPatch!) {{ handled(data: $data) {{ {info} }} }}"
    messages = execute.data(handled, stranger, data=data)["handled"]["messages"]
    assert messages == [{"kind": "PERMISSION", "message": "Permission denied."}]
    owned.refresh_from_db()
    assert owned.label == "mine"
    assert execute.data(UPDATE, owner, data=data) == {"update": {"pk": owned.pk}}
    owned.refresh_from_db()
    assert owned.label == "new"


def test_copy_of_a_mutation_is_checked(execute, owner, stranger, owned):
    """Strawberry copies fields, also those that a schema has already been made of."""

    @strawberry.type
    class Query:
        name: str = ""

    @strawberry.type
    class First:
        update: AnyBox = mutations.update(BoxPatch, extensions=[HasObjectPermission(CHANGE)])

    strawberry.Schema(Query, First)
    (field,) = First.__strawberry_definition__.fields
    Second = strawberry.type(
        type("Second", (), {"__annotations__": {"update": AnyBox}, "update": copy(field)})
    )
    made = strawberry.Schema(Query, Second)
    data = {"id": owned.pk, "label": "new"}
    assert isinstance(execute.error(UPDATE, stranger, made, data=data), PermissionDenied)
    assert not Box.objects.filter(label="new").exists()
    assert execute(UPDATE, owner, made, data=data).data == {"update": {"pk": owned.pk}}


def test_update_of_many_is_checked_first(execute, owner, stranger, owned):
    Box.objects.create(shelf=owned.shelf, owner=stranger, label="theirs", is_open=True)
    query = """mutation($data: BoxPatch!, $isOpen: Boolean!) {
        updateMany(data: $data, filters: {isOpen: $isOpen}) { pk }
    }"""
    data = {"label": "new"}
    assert isinstance(execute.error(query, owner, data=data, isOpen=True), PermissionDenied)
    assert isinstance(execute.error(UPDATE, owner, data=data), PermissionDenied)
    assert not Box.objects.filter(label="new").exists()
    assert execute.data(query, owner, data=data, isOpen=False)["updateMany"] == [{"pk": owned.pk}]
    assert Box.objects.get(label="new") == owned


def test_delete_is_checked_first(execute, owner, stranger, owned):
    query = "mutation($data: BoxPatch!) { delete(data: $data) { pk } }"
    assert isinstance(execute.error(query, stranger, data={"id": owned.pk}), PermissionDenied)
    assert Box.objects.filter(pk=owned.pk).exists()
    assert execute.data(query, owner, data={"id": owned.pk}) == {"delete": {"pk": owned.pk}}
    assert not Box.objects.filter(pk=owned.pk).exists()


def test_what_must_not_be_created_is_rolled_back(execute, owner, stranger, owned):
    query = "mutation($data: BoxInput!) { create(data: $data) { pk } }"
    data = {"shelf": owned.shelf_id, "owner": owner.pk, "label": "new"}
    assert isinstance(execute.error(query, stranger, data=data), PermissionDenied)
    assert not Box.objects.filter(label="new").exists()
    execute.data(query, owner, data=data)
    assert Box.objects.filter(label="new").exists()


def test_async_resolver_is_checked(owner, stranger, owned):
    execute = Executor("async", is_optimized=False)
    for user, found in [(owner, [{"pk": owned.pk}]), (stranger, [])]:
        result = execute("{ fetched { pk } }", user, async_schema)
        assert result.data == {"fetched": found}


def test_extensions_of_strawberry_django_grant_by_the_model_level(execute, stranger, owned):
    """What the documentation warns of: these are not the objects that checks grant."""
    assert not stranger.has_perm(CHANGE, owned)
    assert execute.data("{ theirs { pk } }", stranger) == {"theirs": [{"pk": owned.pk}]}
    query = "query($pk: ID!) { theirsSingle(pk: $pk) { pk } }"
    assert execute.data(query, stranger, pk=owned.pk) == {"theirsSingle": {"pk": owned.pk}}
