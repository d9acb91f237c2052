"""strawberry-graphql-django: code of a project that would get around a check doesn't."""

from typing import Any

import pytest
import strawberry
import strawberry_django
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Q
from strawberry_django import mutations
from strawberry_django.mutations.fields import DjangoCreateMutation, DjangoUpdateMutation
from strawberry_django.optimizer import DjangoOptimizerExtension
from strawberry_django.pagination import OffsetPaginated

from djem_async.contrib.strawberry import HasObjectPermission
from tests.frameworks import test_strawberry
from tests.frameworks.models import Box
from tests.frameworks.schema import AnyBox, BoxInput, BoxPatch

mode, execute = test_strawberry.mode, test_strawberry.execute
owner, stranger, owned = test_strawberry.owner, test_strawberry.stranger, test_strawberry.owned

can_view = HasObjectPermission("frameworks.view_box")
can_change = HasObjectPermission("frameworks.change_box")
can_add = HasObjectPermission("frameworks.add_box")


@strawberry_django.type(Box)
class WideBox:
    pk: int

    @classmethod
    def get_queryset(cls, queryset: Any, info: Any, **kwargs: Any) -> Any:
        return queryset | Box.objects.all()


@strawberry_django.filter_type(Box)
class WideFilter:
    @strawberry_django.filter_field
    def every(self, queryset: Any, value: bool, prefix: str) -> Any:
        return queryset | Box.objects.all(), Q()


@strawberry_django.partial(Box)
class TwoKeys:
    pk: strawberry.ID | None
    id: strawberry.ID | None
    label: str | None


class ForgetsToReturn(DjangoCreateMutation):
    def create(self, data: Any, *, info: Any) -> None:  # type: ignore[override]
        super().create(data, info=info)


@strawberry.type
class Query:
    filtered: list[AnyBox] = strawberry_django.field(filters=WideFilter, extensions=[can_view])
    boxes: list[WideBox] = strawberry_django.field(extensions=[can_view])
    page: OffsetPaginated[WideBox] = strawberry_django.offset_paginated(extensions=[can_view])


@strawberry.type
class Mutation:
    create: AnyBox | None = ForgetsToReturn(BoxInput, extensions=[can_add])
    update: AnyBox = mutations.update(TwoKeys, extensions=[can_change])
    by_label: AnyBox = mutations.update(TwoKeys, key_attr="label", extensions=[can_change])


schema = strawberry.Schema(Query, Mutation, extensions=[DjangoOptimizerExtension])


def test_queryset_of_a_type_adds_no_rows(execute, stranger, owned):
    Box.objects.create(shelf=owned.shelf, owner=stranger)
    mine = [{"pk": Box.objects.get(owner=stranger).pk}]
    query = "{ boxes { pk } page { totalCount results { pk } } }"
    data = execute(query, stranger, schema).data
    assert data == {"boxes": mine, "page": {"totalCount": 1, "results": mine}}


def test_filter_adds_no_rows_to_a_list(execute, owner, stranger, owned):
    query = "{ filtered(filters: {every: true}) { pk } }"
    assert execute(query, stranger, schema).data == {"filtered": []}
    assert execute(query, owner, schema).data == {"filtered": [{"pk": owned.pk}]}


def test_creation_that_returns_nothing_is_rolled_back(execute, owner, stranger, owned):
    query = "mutation($data: BoxInput!) { create(data: $data) { pk } }"
    for user in (owner, stranger):
        data = {"shelf": owned.shelf_id, "owner": owner.pk, "label": "new"}
        error = execute.error(query, user, schema, data=data)
        assert isinstance(error, ImproperlyConfigured)
        assert "create: HasObjectPermission can't check NoneType" in str(error)
    assert not Box.objects.filter(label="new").exists()


def test_update_does_not_write_to_another_object(execute, stranger, owned):
    mine = Box.objects.create(shelf=owned.shelf, owner=stranger, label="own")
    for name, key in [("update", {"pk": mine.pk}), ("byLabel", {"label": "own"})]:
        query = f"mutation($data: TwoKeys!) {{ {name}(data: $data) {{ pk }} }}"
        for changed in (owned.pk, None):
            data = {"label": "own", **key, "id": changed}
            error = execute.error(query, stranger, schema, data=data)
            assert isinstance(error, ImproperlyConfigured)
            assert "sets id, which is the primary key" in str(error)
        data = {"label": "own", **key}
        assert execute(query, stranger, schema, data=data).data == {name: {"pk": mine.pk}}
    query = f"mutation {{ update(data: {{id: {owned.pk}}}) {{ pk }} }}"
    error = execute.error(query, stranger, schema)
    assert isinstance(error, PermissionDenied)
    owned.refresh_from_db()
    assert (owned.label, Box.objects.count()) == ("mine", 2)


@pytest.mark.parametrize("name", ["resolver", "instance_level_update"])
def test_mutation_that_writes_by_itself_is_an_error(name):
    def method(self: Any, *args: Any) -> Any:
        """Write without calling `update`."""

    kind = type("Own", (DjangoUpdateMutation,), {name: method})
    fields = {"update": kind(BoxPatch, extensions=[can_change])}
    own = strawberry.type(type("Own", (), {"__annotations__": {"update": AnyBox}, **fields}))
    with pytest.raises(Exception, match=f"Own overrides {name}.*Override `update` instead"):
        strawberry.Schema(Query, own)
