"""Many checks at once: decisions on many objects, with few queries and one hop to the thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from django.core.exceptions import PermissionDenied
from django.db import connections
from django.db.models import Model

from ._check_logs import unlogged
from ._conditions import as_expression
from ._flow import Call, Each, Flow
from ._lazy import checked_name, unwrapped
from ._look_up import learn
from ._methods import MethodNames, find_access_methods, key_for
from ._objects import UserCheck, check_by_methods
from ._running import Check
from ._store import ObjectKey, decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ._entries import Entries
    from ._methods import Source
    from .access import Exemption

Objects: TypeAlias = "dict[ObjectKey, Model]"


def prefetch(user: object, perms: Iterable[str], objects: Iterable[Model]) -> Flow[None]:
    """Decide permissions on objects, so that checks of them find the decisions.

    Raises:
        TypeError: A permission is not a string, or an object not a model instance.
    """
    if isinstance(perms, str):
        raise TypeError(f"{perms!r} is a single permission. Pass a list: [{perms!r}].")
    names = dict.fromkeys(map(checked_name, perms))
    check = Check(user)
    # Querysets are fetched where queries are allowed.
    found: list[Model] = yield Call(_fetched, None, (objects,))
    learn(check)
    left: list[Flow[bool]] = []
    with unlogged(check):
        for perm in names:
            with check.deciding("prefetch", perm):
                flows = yield from _ManyCheck(check, perm, _saved(found, perm)).decide()
            if not isinstance(flows, bool):
                left.extend(flows)
        yield Each(left)


def _fetched(objects: Iterable[Any]) -> list[Any]:
    if isinstance(objects, Model):
        raise TypeError("Pass a list of objects, even for a single one.")
    found = [unwrapped(obj) for obj in objects]
    for obj in found:
        if not issubclass(type(obj), Model):
            raise TypeError(f"The objects must be model instances, not {type(obj).__name__}.")
    return found


def _saved(objects: list[Model], perm: str) -> Objects:
    """Return the objects on which decisions can be cached."""
    keys = ((key_for(perm, obj), obj) for obj in objects)
    return {key: obj for key, obj in keys if key is not None}


def _alone(check: Check, perm: str, obj: Model, *, is_held: bool) -> Flow[bool]:
    each = Check(check.user, check.generation)
    each.logs = check.logs
    return (yield from check_by_methods(each, perm, obj, is_held=is_held))


class _ManyCheck(UserCheck["list[Flow[bool]]"]):
    """One permission of one user on many objects."""

    def __init__(self, check: Check, perm: str, objects: Objects) -> None:
        super().__init__(check, perm)
        self._objects = objects

    def exempt_sources(self) -> Flow[Sequence[Source]]:
        # The methods of any of the objects. Each object is decided by its own.
        merged: dict[Source, Exemption] = {}
        for model in {key.model for key in self._objects}:
            merged |= self.exemptions_of(model)
        return self.sources_among(merged)

    def object_level(self, exempt: Sequence[Source] | None = None) -> Flow[bool | list[Flow[bool]]]:
        """Decide all objects that queries can decide.

        Returns:
            A flow for each of the other objects.
        """
        kinds: dict[tuple[type[Any], str | None], Objects] = {}
        for key, obj in self._unknown():
            kinds.setdefault((key.model, key.alias), {})[key] = obj
        for (model, alias), objects in kinds.items():
            if self.is_foreign_to(model):
                continue
            try:
                methods = find_access_methods(next(iter(objects.values())), self._perm)
            except PermissionDenied:
                continue  # a property has denied this object, but may not deny the others
            asked = [each for each in methods if each.query_name is not None]
            if exempt is not None:
                marked = self.exemptions_of(model).keys() & exempt
                asked = [each for each in asked if each.source in marked]
            if asked:
                is_only = len(methods) == 1
                yield from self._ask_rows(model, alias, objects, asked, is_only=is_only)
        is_held = exempt is None
        return [_alone(self._check, self._perm, obj, is_held=is_held) for _, obj in self._unknown()]

    def _unknown(self) -> Iterator[tuple[ObjectKey, Model]]:
        recall = self._check.generation.recall
        for key, obj in self._objects.items():
            if recall(self._perm, key, None) is None:
                yield key, obj

    def _ask_rows(
        self,
        model: type[Any],
        alias: str | None,
        objects: Objects,
        methods: Sequence[MethodNames],
        *,
        is_only: bool,
    ) -> Flow[None]:
        answers: list[tuple[Source, Any, Entries]] = []
        for each in methods:
            form = getattr(model, str(each.query_name))
            granted, entries = yield from self.ask_form(each.source, form)
            answers.append((each.source, as_expression(model, granted), entries))
        rows = model._base_manager.using(alias)
        keys = {key.pk: key for key in objects}
        pks = list(keys)
        params = connections[rows.db].features.max_query_params
        # Each part of a composite key is a parameter.
        most = params // len(model._meta.pk_fields) if params else len(pks)
        for start in range(0, len(pks), most):
            some = rows.filter(pk__in=pks[start : start + most])
            selected = some.values_list("pk", *(condition for _, condition, _ in answers))
            found: Any = yield Call(list, None, (selected,))
            for pk, *grants in found:
                # Keys that the database returns in another notation are left out.
                if pk in keys:
                    for (source, _, entries), granted in zip(answers, grants, strict=True):
                        made = decision(bool(granted), entries, source)
                        # As in a check, see `_slot` there.
                        slot = None if is_only else source
                        self._check.generation.keep(self._perm, keys[pk], slot, made)
