"""The mixin for serializers that asks for the permission to add an object before it is saved."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model
from rest_framework.utils.model_meta import get_field_info

from ..._driving import arun, run
from ..._flow import Call, Flow
from ..._lineage import key_names, perm_for
from ...auth._users import user_of
from ...auth._views import denied


class AddPermissionMixin:
    """Checks the permission `add` on the object that a model serializer is about to create.

    List it first among the bases of the serializer. The check is made when `save()` or `asave()`
    is called, so it sees the arguments of these, and nothing has been saved yet.
    """

    Meta: Any
    context: dict[str, Any]
    instance: Any
    parent: Any
    validated_data: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        order = cls.__mro__
        for base in order[: order.index(AddPermissionMixin)]:
            names = {"save", "asave"}.intersection(vars(base))
            if names and not issubclass(base, AddPermissionMixin):
                raise TypeError(
                    f"{cls.__name__} has `{min(names)}` of {base.__name__}, so AddPermissionMixin"
                    f" would check nothing. List it ahead of {base.__name__}."
                )

    def to_internal_value(self, data: Any) -> Any:
        """Convert the data of one object.

        Args:
            data: The data.

        Returns:
            The validated values.

        Raises:
            ImproperlyConfigured: The serializer is part of another one, whose `save()` would save
                the object without a check.
        """
        if self.parent is not None:
            name = type(self).__name__
            raise ImproperlyConfigured(
                f"{name} is part of {type(self.parent).__name__}, which saves objects without"
                f" calling {name}.save(), so AddPermissionMixin would check nothing. Check `add` on"
                " each of them before you save the first, with a serializer that doesn't have"
                " AddPermissionMixin."
            )
        convert: Any = super()
        return convert.to_internal_value(data)

    @classmethod
    def get_add_perm(cls) -> str:
        """Return the permission that is checked: `add` of the serializer's model."""
        return perm_for("add", cls.Meta.model)

    def build_object(self, validated_data: dict[str, Any]) -> Model:
        """Build the object to check, without saving it.

        Override it together with `create()`, if that saves anything else than this.

        Args:
            validated_data: The validated data, with the arguments of `save()`.

        Returns:
            An unsaved object.

        Raises:
            ImproperlyConfigured: The model can't be built from the data.
        """
        model: type[Model] = self.Meta.model
        relations = get_field_info(model).relations
        # These can only be set once the object is saved, as in `ModelSerializer.create()`.
        later = {name for name, relation in relations.items() if relation.to_many}
        values = {name: value for name, value in validated_data.items() if name not in later}
        try:
            return model(**values)
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(
                f"{type(self).__name__} can't build the {model.__name__} on which to check"
                f" {self.get_add_perm()}: {error}. Override its `build_object(validated_data)`."
            ) from error

    def save(self, **kwargs: Any) -> Any:
        """Save the object, if the user may change it or may add it.

        That the user may change an existing object has been checked by the view.

        Args:
            **kwargs: Further values for the object.

        Returns:
            The object.

        Raises:
            PermissionDenied: The user may not add it. Nothing has been saved.
            ImproperlyConfigured: There is no request in the context of the serializer, the object
                can't be built, or a change would add an object because the instance isn't saved
                yet or its primary key changes.
        """
        run(self._checked(kwargs))
        parent: Any = super()
        return parent.save(**kwargs)

    async def asave(self, **kwargs: Any) -> Any:
        """Save the object in adrf, see `save`."""
        await arun(self._checked(kwargs))
        parent: Any = super()
        return await parent.asave(**kwargs)

    def _checked(self, extra: dict[str, Any]) -> Flow[None]:
        values = {**self.validated_data, **extra}
        if self.instance is not None:
            _require_row(type(self).__name__, self.instance, values)
            return
        request = self.context.get("request")
        if request is None:
            raise ImproperlyConfigured(
                f"{type(self).__name__} doesn't know who adds the object. Pass it"
                ' `context={"request": request}`, as the generic views do.'
            )
        user = yield from user_of(request)
        obj = yield Call(self.build_object, None, (values,))
        denial = yield from denied(user, self.get_add_perm(), obj)
        if denial is not None:
            raise denial


def _require_row(name: str, obj: Any, values: dict[str, Any]) -> None:
    """Refuse a change that would add an object, or write to another one."""
    if not isinstance(obj, Model):
        return
    if obj._state.adding:
        raise ImproperlyConfigured(
            f"{name} has an instance that isn't saved yet, whose values AddPermissionMixin doesn't"
            " check. Pass these to `save()` instead."
        )
    for key in sorted(key_names(type(obj)).intersection(values)):
        if values[key] != getattr(obj, key):
            raise ImproperlyConfigured(
                f"{name} would change {key}, which is the primary key, so it would add an object or"
                " write to another one without a check. Make the field read-only for changes."
            )
