"""Field extensions for strawberry-graphql-django that ask for permissions on objects.

The permission extensions of strawberry-django grant where the user has the permission at the model
level. These require it at the model level and on the object.
"""

from __future__ import annotations

from functools import partial
from hashlib import blake2s
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, cast

from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Manager, Model, QuerySet
from graphql import OperationType
from strawberry import UNSET
from strawberry.extensions import FieldExtension
from strawberry.types.base import StrawberryList, StrawberryOptional
from strawberry.utils.inspect import in_async_context
from strawberry_django import optimizer
from strawberry_django.auth.utils import aget_current_user, get_current_user
from strawberry_django.fields.field import StrawberryDjangoField
from strawberry_django.mutations.fields import (
    DjangoCreateMutation,
    DjangoDeleteMutation,
    DjangoMutationBase,
    DjangoUpdateMutation,
)
from strawberry_django.queryset import run_type_get_queryset

from ..._asking import ask_user
from ..._driving import arun, run
from ..._flow import Call, Flow
from ..._lineage import key_names
from ...auth._views import denied
from ...shortcuts import aget_objects_for_user, get_objects_for_user, permitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from strawberry.types import Info
    from strawberry.types.field import StrawberryField

__all__ = ["HasObjectPermission", "HasSourceObjectPermission"]

# Its types are partly unknown to type checkers.
_is_prefetched: Final[Callable[[Any], bool]] = cast("Any", optimizer).is_optimized_by_prefetching
_WRITES: Final = {
    DjangoCreateMutation: "create",
    DjangoUpdateMutation: "update",
    DjangoDeleteMutation: "delete",
}


class _Extension(FieldExtension):
    """Runs the checks of a subclass, in sync and in async execution."""

    def __init__(self, perm: str, *, fail_silently: bool = False) -> None:
        self.perm = perm
        self.fail_silently = fail_silently

    def resolve(
        self, next_: Callable[..., Any], source: Any, info: Info[Any, Any], **kwargs: Any
    ) -> Any:
        """Resolve the field, with the checks.

        Returns:
            What the field returns, without objects that the user doesn't have the permission on.
            In async execution, an awaitable of it.
        """
        if in_async_context():
            return self.resolve_async(next_, source, info, **kwargs)
        if not run(self._before(source, info)):
            return None
        return run(self._after(next_(source, info, **kwargs), info))

    async def resolve_async(
        self, next_: Callable[..., Any], source: Any, info: Info[Any, Any], **kwargs: Any
    ) -> Any:
        """Resolve the field, with the checks, see `resolve`."""
        if not await arun(self._before(source, info)):
            return None
        result = next_(source, info, **kwargs)
        return await arun(self._after(await result if isawaitable(result) else result, info))

    def _before(self, source: Any, info: Info[Any, Any]) -> Flow[bool]:
        yield from ()
        return True

    def _after(self, result: Any, info: Info[Any, Any]) -> Flow[Any]:
        yield from ()
        return result

    def _denial(
        self, obj: Model, info: Info[Any, Any], *, is_anew: bool = False
    ) -> Flow[PermissionDenied | None]:
        user = yield from _user(info)
        denial = yield from denied(user, self.perm, obj, is_anew=is_anew)
        if denial is not None:
            # Clients would see "An unknown error occurred." instead of an empty text.
            denial.args = denial.args or ("Permission denied.",)
        return denial

    def _is_granted(self, obj: Model, info: Info[Any, Any]) -> Flow[bool]:
        denial = yield from self._denial(obj, info)
        if denial is not None and not self.fail_silently:
            raise denial
        return denial is None


class HasSourceObjectPermission(_Extension):
    """Requires a permission on the object that a field belongs to, before the field is resolved.

    Args:
        perm: The permission, ``app_label.codename``.
        fail_silently: Whether a denial makes the field null, which has to be optional, instead of
            raising `PermissionDenied`.
    """

    def _before(self, source: Any, info: Info[Any, Any]) -> Flow[bool]:
        if not isinstance(source, Model):
            raise ImproperlyConfigured(
                f"{info.field_name}: HasSourceObjectPermission checks the object that the field"
                f" belongs to, which is {type(source).__name__} instead of a model instance. To"
                " check what the field returns, use HasObjectPermission."
            )
        return (yield from self._is_granted(source, info))


class HasObjectPermission(_Extension):
    """Requires a permission on each object that a field returns.

    A single object is checked. Lists, connections and pages are filtered by the query form of the
    access method, before they are sliced. Lists that a resolver has fetched are checked object by
    object. In mutations of strawberry-django, objects are checked before they are written, and
    created ones before the transaction ends. If a field can't be checked, making the schema or
    resolving the field raises an error.

    Args:
        perm: The permission, ``app_label.codename``.
        fail_silently: Whether a denial of a single object makes the field null, which has to be
            optional, instead of raising `PermissionDenied`. Mutations always raise.
    """

    def apply(self, field: StrawberryField) -> None:
        """Hook into the methods of the field that select rows and that write.

        Args:
            field: The field.

        Raises:
            ImproperlyConfigured: The field is a mutation that calls a function, which could only be
                checked after it has written, or that overrides the method that makes the check.
        """
        if isinstance(field, DjangoMutationBase):
            for kind, name in _WRITES.items():
                if isinstance(field, kind):
                    _require_no_override(field, kind, name)
                    check = self._create if kind is DjangoCreateMutation else self._write
                    setattr(field, name, partial(check, getattr(field, name)))
                    return  # and keep the extension, because copies of the field lose the hook
            raise ImproperlyConfigured(_late(field.name))
        if isinstance(field, StrawberryDjangoField) and (
            field.is_list or field.is_connection or field.is_paginated
        ):
            # The only place before filters, slices and the optimizer's prefetching.
            to_hook: Any = field
            to_hook.get_queryset = partial(self._filtered, to_hook, to_hook.get_queryset)

    def _filtered(
        self,
        field: StrawberryDjangoField,
        get_queryset: Callable[..., QuerySet[Any]],
        queryset: QuerySet[Any],
        info: Info[Any, Any],
        **kwargs: Any,
    ) -> QuerySet[Any]:
        if not _is_prefetched(queryset):
            # The `get_queryset` of a type may add rows, so it runs before the filter.
            queryset = run_type_get_queryset(queryset, field.django_type, info)
            user = get_current_user(info)
            queryset = get_objects_for_user(user, self.perm, queryset)
            decision = permitted(user, self.perm, queryset.model)
            queryset = queryset.annotate(**{self._mark(user): decision})
        return get_queryset(queryset, info, **kwargs)

    def _write(
        self, write: Callable[..., Any], info: Info[Any, Any], found: Any, *args: Any, **kw: Any
    ) -> Any:
        # Write the rows that were checked, even if other rows match meanwhile.
        is_single = isinstance(found, Model)
        rows = [found] if is_single else list(found)
        for each in rows:
            self._require(each, info)
            _require_same_key(each, args, info)
        return write(info, found if is_single else rows, *args, **kw)

    def _create(
        self, create: Callable[..., Any], data: Any, *, info: Info[Any, Any], **kwargs: Any
    ) -> Any:
        created = create(data, info=info, **kwargs)
        if not isinstance(created, Model):
            raise ImproperlyConfigured(_unchecked(info.field_name, created))
        self._require(created, info)  # in the transaction of the mutation
        return created

    def _require(self, obj: Model, info: Info[Any, Any]) -> None:
        # Another mutation of the request may have changed what decisions depend on.
        denial = run(self._denial(obj, info, is_anew=True))
        if denial is not None:
            raise denial

    def _before(self, source: Any, info: Info[Any, Any]) -> Flow[bool]:
        if _is_hooked_write(info):
            return True
        if info.operation.operation is OperationType.MUTATION and info.path.prev is None:
            raise ImproperlyConfigured(_late(info.field_name))
        return (yield from super()._before(source, info))

    def _after(self, result: Any, info: Info[Any, Any]) -> Flow[Any]:
        if result is None or _is_hooked_write(info):
            return result
        found = cast("Any", result.all() if isinstance(result, Manager) else result)
        if isinstance(found, QuerySet):
            return (yield from self._rows(cast("Any", found), info))
        if isinstance(found, Model):
            return found if (yield from self._is_granted(found, info)) else None
        if isinstance(found, list | tuple):
            return (yield from self._granted(cast("Any", found), info))
        raise ImproperlyConfigured(_unchecked(info.field_name, found))

    def _rows(self, queryset: QuerySet[Any], info: Info[Any, Any]) -> Flow[Any]:
        is_list = isinstance(_unwrapped(info.return_type), StrawberryList)
        if _is_prefetched(queryset):
            # If a query has two fields for one relation, the optimizer keeps the filter of one.
            rows = yield Call(list, None, (queryset,))
            granted = yield from self._granted(rows, info)
            if len(granted) == len(rows):
                return queryset
            if is_list:
                return granted
            raise ImproperlyConfigured(
                f"{info.field_name}: another field of this query selects the same relation, and"
                " strawberry-django has merged the two. Set `disable_optimization=True` on the"
                " field."
            )
        user = yield from _user(info)
        if self._mark(user) in queryset.query.annotations:
            if not is_list:
                return queryset  # filtered by the hook
            # Filters of the project may have added rows, whose annotation isn't true.
            return (yield from self._granted((yield Call(list, None, (queryset,))), info))
        forms = get_objects_for_user, aget_objects_for_user
        queryset = yield Call(*forms, (user, self.perm, queryset))
        return (yield Call(list, None, (queryset,))) if is_list else queryset

    def _granted(self, rows: Iterable[Any], info: Info[Any, Any]) -> Flow[list[Any]]:
        user = yield from _user(info)
        rows = [each for each in rows if each is not None]
        for each in rows:
            if not isinstance(each, Model):
                raise ImproperlyConfigured(_unchecked(info.field_name, each))
        mark = self._mark(user)
        undecided = [each for each in rows if getattr(each, mark, None) is not True]
        if undecided and hasattr(user, "prefetch_perms"):
            forms = user.prefetch_perms, user.aprefetch_perms
            yield Call(*forms, ([self.perm], undecided))
        hidden: set[int] = set()
        for each in undecided:
            if not (yield from ask_user(user, self.perm, each)):
                hidden.add(id(each))
        return [each for each in rows if id(each) not in hidden]

    def _mark(self, user: Any) -> str:
        """Name the annotation that carries the database's decision about a row for a user."""
        # Names of permissions contain characters that aren't allowed in annotations.
        about = f"{self.perm} {type(user).__name__} {user.pk}"
        return f"_may_{blake2s(about.encode(), digest_size=8).hexdigest()}"


def _user(info: Info[Any, Any]) -> Flow[Any]:
    """Find the user of the request."""
    return (yield Call(get_current_user, aget_current_user, (info,)))


def _is_hooked_write(info: Info[Any, Any]) -> bool:
    """Tell whether the field is a mutation that checks what it writes by itself."""
    parent: Any = info.path.typename
    field = info.schema.get_field_for_type(info.field_name, parent)
    return isinstance(field, tuple(_WRITES))


def _unwrapped(kind: Any) -> Any:
    return kind.of_type if isinstance(kind, StrawberryOptional) else kind


def _require_no_override(field: StrawberryField, kind: type, name: str) -> None:
    """Refuse a mutation whose class may write without the method that is hooked into."""
    for each in ("resolver", "instance_level_update"):
        if getattr(type(field), each, None) is not getattr(kind, each, None):
            raise ImproperlyConfigured(
                f"{field.name}: {type(field).__name__} overrides {each}, so it may write without"
                f" the check of HasObjectPermission. Override `{name}` instead."
            )


def _require_same_key(obj: Model, args: tuple[Any, ...], info: Info[Any, Any]) -> None:
    """Refuse values that would write to another row than the one that was checked."""
    data = {name for each in args if each for name, value in each.items() if value is not UNSET}
    if changed := data & key_names(type(obj)):
        raise ImproperlyConfigured(
            f"{info.field_name}: The input sets {min(changed)}, which is the primary key, so it"
            " would write to another object. Leave it out of the input."
        )


def _unchecked(name: str, value: object) -> str:
    return (
        f"{name}: HasObjectPermission can't check {type(value).__name__}. Let the field return"
        " objects of a model, or a list or a queryset of them, and list this extension before those"
        " that convert them."
    )


def _late(name: str) -> str:
    return (
        f"{name}: HasObjectPermission would check what this mutation returns after it has written."
        " Check in its function: `get_object_for_user(user, perm, Model, pk=pk)`."
    )
