"""A GraphQL schema in which our extensions protect each field in one of the ways there are."""

from __future__ import annotations

from typing import Any

import strawberry
import strawberry_django
from strawberry import relay
from strawberry_django import mutations
from strawberry_django.optimizer import DjangoOptimizerExtension
from strawberry_django.pagination import OffsetPaginated
from strawberry_django.permissions import HasRetvalPerm
from strawberry_django.relay import DjangoCursorConnection, DjangoListConnection

from djem_async.contrib.strawberry import HasObjectPermission, HasSourceObjectPermission
from tests.frameworks import models

can_view_box = HasObjectPermission("frameworks.view_box")
can_view_shelf = HasObjectPermission("frameworks.view_shelf")
can_change_post = HasObjectPermission("frameworks.change_post")
can_change_box = HasObjectPermission("frameworks.change_box")


@strawberry_django.type(models.Post)
class Post:
    pk: int


@strawberry_django.type(models.Box)
class AnyBox:
    """A box without any permissions."""

    pk: int


@strawberry_django.order_type(models.Box)
class BoxOrder:
    pk: strawberry.auto


@strawberry_django.filter_type(models.Box)
class BoxFilter:
    is_open: strawberry.auto


@strawberry_django.type(models.Box, ordering=BoxOrder, filters=BoxFilter)
class Box(relay.Node):
    pk: int
    is_open: strawberry.auto
    label: str | None = strawberry_django.field(
        only=["label", "owner"],  # what the access method reads
        extensions=[HasSourceObjectPermission("frameworks.change_box", fail_silently=True)],
    )
    strict_label: str = strawberry_django.field(
        field_name="label", extensions=[HasSourceObjectPermission("frameworks.change_box")]
    )
    shelf: Shelf = strawberry_django.field(extensions=[can_view_shelf])


@strawberry_django.type(models.Shelf)
class Shelf:
    pk: int
    every_box: list[AnyBox] = strawberry_django.field(field_name="boxes")
    boxes: list[Box] = strawberry_django.field(pagination=True, extensions=[can_view_box])
    connection: DjangoListConnection[Box] = strawberry_django.connection(
        field_name="boxes", extensions=[can_view_box]
    )
    cursor: DjangoCursorConnection[Box] = strawberry_django.connection(
        field_name="boxes", extensions=[can_view_box]
    )
    page: OffsetPaginated[Box] = strawberry_django.offset_paginated(
        field_name="boxes", extensions=[can_view_box]
    )


def resolve_boxes() -> Any:
    return models.Box.objects.order_by("pk")


def resolve_list() -> Any:
    return list(models.Box.objects.order_by("pk"))


async def aresolve_boxes() -> Any:
    return [box async for box in models.Box.objects.order_by("pk")]


@strawberry.type
class Query:
    box: Box = strawberry_django.field(extensions=[can_view_box])
    maybe: Box | None = strawberry_django.node(
        extensions=[HasObjectPermission("frameworks.view_box", fail_silently=True)]
    )
    boxes: list[Box] = strawberry_django.field(pagination=True, extensions=[can_view_box])
    connection: DjangoListConnection[Box] = strawberry_django.connection(extensions=[can_view_box])
    page: OffsetPaginated[Box] = strawberry_django.offset_paginated(extensions=[can_view_box])
    nodes: list[Box] = relay.node(extensions=[can_view_box])
    by_resolver: list[Box] = strawberry_django.field(
        resolver=resolve_boxes, extensions=[can_view_box]
    )
    by_plain_resolver: list[Box] = strawberry.field(
        resolver=resolve_boxes, extensions=[can_view_box]
    )
    fetched: list[Box] = strawberry_django.field(resolver=resolve_list, extensions=[can_view_box])
    posts: list[Post] = strawberry_django.field(extensions=[can_change_post])
    shelves: list[Shelf] = strawberry_django.field()
    theirs: list[AnyBox] = strawberry_django.field(
        extensions=[HasRetvalPerm("frameworks.change_box", use_directives=False)]
    )
    theirs_single: AnyBox | None = strawberry_django.field(
        extensions=[HasRetvalPerm("frameworks.change_box", use_directives=False)]
    )

    @strawberry.field(extensions=[can_view_box])
    def text(self) -> str:
        return "box"

    @strawberry.field(extensions=[can_view_box])
    def mixed(self) -> list[AnyBox]:
        return [object()]  # type: ignore[list-item]

    @strawberry.field(extensions=[HasSourceObjectPermission("frameworks.view_box")])
    def without_source(self) -> str:
        return "box"


@strawberry.type
class AsyncQuery:
    fetched: list[Box] = strawberry.field(resolver=aresolve_boxes, extensions=[can_view_box])


@strawberry_django.input(models.Box)
class BoxInput:
    shelf: strawberry.ID
    owner: strawberry.ID
    label: str


@strawberry_django.partial(models.Box)
class BoxPatch:
    id: strawberry.ID | None
    owner: strawberry.ID | None
    label: str | None


@strawberry.type
class Mutation:
    create: AnyBox = mutations.create(
        BoxInput, extensions=[HasObjectPermission("frameworks.add_box")]
    )
    update: AnyBox = mutations.update(BoxPatch, extensions=[can_change_box])
    update_many: list[AnyBox] = mutations.update(
        BoxPatch, filters=BoxFilter, extensions=[can_change_box]
    )
    delete: AnyBox = mutations.delete(
        BoxPatch,
        extensions=[HasObjectPermission("frameworks.delete_box", fail_silently=True)],
    )
    handled: AnyBox = mutations.update(
        BoxPatch, handle_django_errors=True, extensions=[can_change_box]
    )

    @strawberry.mutation(extensions=[can_change_box])
    def late(self, pk: int) -> AnyBox:
        models.Box.objects.filter(pk=pk).update(label="late")
        return models.Box.objects.get(pk=pk)  # type: ignore[return-value]


schema = strawberry.Schema(Query, Mutation, extensions=[DjangoOptimizerExtension])
async_schema = strawberry.Schema(AsyncQuery)
