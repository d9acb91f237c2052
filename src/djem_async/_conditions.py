"""What query forms of access methods may return, and how it is put into a query."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Exists, Manager, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import BaseExpression, Combinable

from ._pending import close
from .exceptions import NotADecisionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from django.db.models import Model

Alternatives: TypeAlias = tuple[Q, ...]
"""A row has to meet one of these conditions. Each is evaluated separately."""

# Django's lookups that NULL never matches.
_COMPARISONS: Final = frozenset({"exact", "iexact", "in", "gt", "gte", "lt", "lte", "range"})
_SEARCHES: Final = frozenset({"contains", "startswith", "endswith", "regex"})
_LOOKUPS: Final = _COMPARISONS | _SEARCHES | {f"i{name}" for name in _SEARCHES}

RENAME: Final = "The queryset has an annotation with the name of a field. Rename the annotation."


def condition_of(form: Callable[[Any], object], argument: object) -> bool | Q:
    """Get the condition of a query form.

    Args:
        form: The bound class method.
        argument: The user, or the groups of the user.

    Returns:
        The condition, or a bool that counts for all rows.

    Raises:
        NotADecisionError: It returned something else, or a `Q` with an empty branch, which
            matches every row in Django.
    """
    answer = form(argument)
    kind = type(answer)
    if answer is None or kind is bool:
        return bool(answer)
    label = getattr(form, "__qualname__", None) or repr(form)
    if issubclass(kind, (Q, BaseExpression)) and getattr(answer, "conditional", False):
        if _is_complete(answer):
            return answer if isinstance(answer, Q) else Q(answer)
        raise NotADecisionError(
            f"{label} returned a condition with a branch that tests nothing, such as `Q()`. Django"
            " lets that match every row. Return True or False for all rows, or give each `Q` a"
            " lookup."
        )
    is_awaitable = isawaitable(answer)
    if is_awaitable:
        close(answer)
    raise NotADecisionError(
        f"{label} returned {'an awaitable' if is_awaitable else f'`{kind.__name__}`'}, which isn't"
        " a condition. Return a `Q`, a conditional expression such as `Exists(...)`, True, False or"
        " None. To select the rows of a queryset, return `Q(pk__in=queryset)`."
    )


def _is_complete(condition: Any) -> bool:
    """Tell whether no part of a condition is empty."""
    if isinstance(condition, Q):
        return bool(condition.children) and all(map(_is_complete, condition.children))
    if isinstance(condition, tuple):
        # Outside of a subquery, it would compare each row with itself.
        return not isinstance(condition[1], OuterRef)
    # Don't look into subqueries: they select rows, and may select all of them.
    is_expression = isinstance(condition, BaseExpression) and not isinstance(condition, Subquery)
    return not is_expression or all(map(_is_complete, condition.get_source_expressions()))


def holds(obj: Model, form: Callable[[Any], object], python_name: str, argument: object) -> bool:
    """Tell whether a condition holds for the row of an object, as it is stored.

    Args:
        obj: The object.
        form: The query form of its access method.
        python_name: The name that the access method would have in Python.
        argument: The user, or the groups of the user.

    Raises:
        ValueError: The object has no row.
    """
    if obj._state.adding:
        raise ValueError(
            f"{obj!r} isn't saved, so the query form of an access method can't check it. Save it"
            f" first, or define {type(obj).__name__}.{python_name} as well."
        )
    condition = condition_of(form, argument)
    rows = type(obj)._base_manager.using(obj._state.db).filter(pk=obj.pk)
    if isinstance(condition, bool):
        return condition and rows.exists()
    return rows.filter(condition).exists()


def as_expression(model: type[Model], granted: bool | Alternatives) -> Combinable:
    """Make an expression that is true or false, never NULL, and adds no joins.

    Args:
        model: The model.
        granted: A bool for all rows, or the conditions of which a row has to meet one.
    """
    if granted is False or (granted is True and not _hides_rows(model)):
        return _of_model(model, _Constant(granted))
    branches = () if granted is True else tuple(_branches(model, granted))
    if len(branches) < 2:
        return _exists(model, *branches)
    return _exists(model, _without_joins(model, branches))


def restrict(queryset: QuerySet[Any], granted: bool | Alternatives) -> QuerySet[Any]:
    """Keep the rows of a queryset that are granted, see `as_expression`, each once."""
    model = queryset.model
    if granted is False:
        return queryset.none()
    # An annotation may have the name of a lookup.
    has_lookups = any(LOOKUP_SEP in name for name in queryset.query.annotations)
    if has_lookups or _hides_rows(model):
        return queryset.filter(as_expression(model, granted))
    if granted is True:
        return queryset.all()
    return queryset.filter(_without_joins(model, _branches(model, granted)))


def _hides_rows(model: type[Model]) -> bool:
    """Tell whether checks may not find all rows of a model."""
    return type(model._base_manager) is not Manager


class _OfModel(Combinable):
    """An expression for the rows of one model. Using it with another model is an error."""

    model: Any

    def resolve_expression(self, query: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Become a part of a query.

        Raises:
            TypeError: The query is of another model, or has an annotation in place of the key.
        """
        if self.model is not None:
            if query.model._meta.concrete_model is not self.model._meta.concrete_model:
                raise TypeError(
                    f"This condition is for {self.model.__name__}, but the queryset is for"
                    f" {query.model.__name__}. Use a condition for that model, or filter by a"
                    " relation: `filter(relation__in=get_objects_for_user(...))`."
                )
            if not query.annotations.keys().isdisjoint(_key_of(self.model)):
                raise TypeError(RENAME)
        resolved: Any = cast("Any", super()).resolve_expression(query, *args, **kwargs)
        resolved.model = None  # where that query is a part of another
        return resolved


class _Exists(_OfModel, Exists):
    pass


class _Constant(_OfModel, Value):
    pass


def _of_model(model: type[Model], expression: Any) -> Combinable:
    expression.model = model
    return cast("Combinable", expression)


def _exists(model: type[Model], *conditions: Q) -> Combinable:
    rows = model._base_manager.filter(**{name: OuterRef(name) for name in _key_of(model)})
    return _of_model(model, _Exists(rows.filter(*conditions)))


def _key_of(model: type[Model]) -> list[str]:
    fields = model._meta.pk_fields
    # Composite keys can only be compared part by part.
    return ["pk"] if len(fields) == 1 else [field.attname for field in fields]


def _branches(model: type[Model], alternatives: Alternatives) -> Iterator[Q]:
    """Split alternatives, so that each can use an index of its own.

    In a single condition, the join for one branch keeps the database from using the indexes of the
    others. Django makes an outer join for a branch of an ``or``, but an inner join if the branch is
    alone. Both give the same result only if neither NULL nor a missing row can match the branch.
    """
    for each in alternatives:
        is_or = each.connector == Q.OR and not each.negated
        if is_or and not _is_local(model, each) and _needs_rows(model, each):
            yield from (child if isinstance(child, Q) else Q(child) for child in each.children)
        else:
            yield each


def _without_joins(model: type[Model], branches: Iterable[Q]) -> Q:
    """Combine branches with ``or``. Those that may use other tables become subqueries."""
    apart = (each if _is_local(model, each) else Q(_exists(model, each)) for each in branches)
    return Q(*apart, _connector=Q.OR)


def _needs_rows(model: type[Model], condition: Q) -> bool:
    """Tell whether a condition certainly doesn't match if a related row is missing or NULL."""
    return not condition.negated and all(
        _needs_rows(model, child)
        if isinstance(child, Q)
        else isinstance(child, tuple)
        and _is_plain(child[1])
        and child[1] not in (None, "")
        and _leads_to_field(model, child[0])
        for child in condition.children
    )


def _leads_to_field(model: type[Model], path: str) -> bool:
    opts: Any = model._meta
    names = path.split(LOOKUP_SEP)
    for name in names[:-1] if names[-1] in _LOOKUPS else names:
        try:
            field = opts.pk if name == "pk" else opts.get_field(name)
        except (AttributeError, FieldDoesNotExist):
            return False
        opts = field.related_model._meta if field.related_model else None
    return True


def _is_local(model: type[Model], condition: Q) -> bool:
    """Tell whether a condition certainly only uses columns of the model."""
    return all(
        _is_local(model, child)
        if isinstance(child, Q)
        else isinstance(child, tuple) and _is_column(model, child[0]) and _is_plain(child[1])
        for child in condition.children
    )


def _is_column(model: type[Model], path: str) -> bool:
    name, *lookups = path.split(LOOKUP_SEP)
    field = columns_of(model).get(name)
    if field is None or len(lookups) > 1:
        return False
    return not lookups or field.get_lookup(lookups[0]) is not None


def columns_of(model: type[Model]) -> dict[str, Any]:
    """Return the fields of a model that are columns, by each of their names."""
    opts: Any = model._meta
    columns = {
        name: field for field in opts.concrete_fields for name in (field.name, field.attname)
    }
    # The parts of a composite key are columns, but the key itself isn't.
    return columns if opts.pk.name not in columns else {**columns, "pk": opts.pk}


def _is_plain(value: object) -> bool:
    """Tell whether a value isn't an expression, which may refer to other tables."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_plain, cast("tuple[object, ...]", value)))
    return not hasattr(value, "resolve_expression")
