"""Many checks at once: decisions on many objects, with few queries and one hop to the thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from django.core.exceptions import PermissionDenied
from django.db import connections
from django.db.models import Model

from ._check_logs import unlogged
from ._conditions import as_expression
from ._decision import decide
from ._flow import Call, Each, Flow
from ._lazy import checked_name, unwrapped
from ._look_up import learn
from ._objects import PermissionCheck, check_by_methods, key_for
from ._running import Check
from ._store import ObjectKey, decision
from .access import MethodNames, find_access_methods

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ._entries import Entries
    from .access import Source

Objects: TypeAlias = "dict[ObjectKey, Model]"


def prefetch(user: object, perms: Iterable[str], objects: Iterable[Model]) -> Flow[None]:
    """Decide permissions on objects, so that checks of them find the decisions.

    Raises:
        TypeError: A permission is not a string, or an object not a model instance.
    """
    if isinstance(perms, str):
        raise TypeError(f"{perms!r} is one permission. Give a list: [{perms!r}].")
    names = dict.fromkeys(map(checked_name, perms))
    check = Check(user)
    # A queryset is fetched where queries may be made.
    found: list[Model] = yield Call(_fetched, None, (objects,))
    learn(check)
    left: list[tuple[str, Model]] = []
    with unlogged(check):
        for perm in names:
            with check.deciding("prefetch", perm):
                objs = yield from decide(_ManyCheck(check, perm, _saved(found, perm)))
            if not isinstance(objs, bool):
                left.extend((perm, obj) for obj in objs)
        yield Each(_alone(check, perm, obj) for perm, obj in left)


def _fetched(objects: Iterable[Any]) -> list[Any]:
    if isinstance(objects, Model):
        raise TypeError("Give the objects in a list, even a single one.")
    found = [unwrapped(obj) for obj in objects]
    for obj in found:
        if not issubclass(type(obj), Model):
            raise TypeError(f"The objects must be model instances, not {type(obj).__name__}.")
    return found


def _saved(objects: list[Model], perm: str) -> Objects:
    """Return the objects on which a decision can be remembered."""
    keys = ((key_for(perm, obj), obj) for obj in objects)
    return {key: obj for key, obj in keys if key is not None}


def _alone(check: Check, perm: str, obj: Model) -> Flow[bool]:
    each = Check(check.user)
    each.generation, each.logs = check.generation, check.logs
    return check_by_methods(each, perm, obj)


class _ManyCheck(PermissionCheck):
    """One permission of one user on many objects."""

    def __init__(self, check: Check, perm: str, objects: Objects) -> None:
        super().__init__(check, perm)
        self._objects = objects

    def object_level(self) -> Flow[bool | list[Model]]:
        """Decide what can be decided by queries.

        Returns:
            The objects that are left.
        """
        kinds: dict[tuple[type[Any], str | None], Objects] = {}
        for key, obj in self._unknown():
            kinds.setdefault((key.model, key.alias), {})[key] = obj
        for (model, alias), objects in kinds.items():
            try:
                methods = find_access_methods(next(iter(objects.values())), self._perm)
            except PermissionDenied:
                continue  # a property has said so, and may say something else of the others
            if any(each.query_name for each in methods):
                yield from self._ask_rows(model, alias, objects, methods)
        return [obj for _, obj in self._unknown()]

    def _unknown(self) -> Iterator[tuple[ObjectKey, Model]]:
        recall = self._check.generation.recall
        for key, obj in self._objects.items():
            if recall(self._perm, key, None) is None:
                yield key, obj

    def _ask_rows(
        self, model: type[Any], alias: str | None, objects: Objects, methods: Sequence[MethodNames]
    ) -> Flow[None]:
        answers: list[tuple[Source | None, Any, Entries]] = []
        for each in methods:
            if each.query_name is not None:
                form = getattr(model, each.query_name)
                granted, entries = yield from self.ask_form(each.source, form)
                # As a check keeps it: with that of all if it is the only one.
                slot = each.source if len(methods) > 1 else None
                answers.append((slot, as_expression(model, granted), entries))
        rows = model._base_manager.using(alias)
        keys = {key.pk: key for key in objects}
        pks = list(keys)
        params = connections[rows.db].features.max_query_params
        # Each part of a composite key is one.
        most = params // len(model._meta.pk_fields) if params else len(pks)
        for start in range(0, len(pks), most):
            some = rows.filter(pk__in=pks[start : start + most])
            selected = some.values_list("pk", *(condition for _, condition, _ in answers))
            found: Any = yield Call(list, None, (selected,))
            for pk, *grants in found:
                # One that is written differently in the database is left.
                if pk in keys:
                    for (slot, _, entries), granted in zip(answers, grants, strict=True):
                        made = decision(bool(granted), entries)
                        self._check.generation.keep(self._perm, keys[pk], slot, made)
