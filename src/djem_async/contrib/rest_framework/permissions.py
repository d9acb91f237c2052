"""The permission class: the model level before the handler, and each object that it gets."""

from inspect import iscoroutinefunction
from typing import Any, Final, NoReturn

from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Model
from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework.exceptions import APIException, NotFound
from rest_framework.mixins import (
    CreateModelMixin,
    DestroyModelMixin,
    ListModelMixin,
    RetrieveModelMixin,
    UpdateModelMixin,
)
from rest_framework.permissions import (
    SAFE_METHODS,
    BasePermissionMetaclass,
    DjangoObjectPermissions,
)

from ..._driving import run
from ..._lineage import perm_for
from ..._methods import exemptions, has_access_method
from ..._users import exemption_needed
from ...access import Exemption
from ...auth._users import user_of
from ...auth._views import denied
from .filters import ObjectPermissionsFilter
from .serializers import AddPermissionMixin

_READ: Final = ["%(app_label)s.view_%(model_name)s"]
# The actions of viewsets, also with adrf. Generic views have none.
_OWN_ACTIONS: Final = (None, "list", "alist", "create", "acreate", "metadata")
_MANY: Final = (CreateModelMixin, ListModelMixin)
# These call `get_object()`, which checks the object. Other generic views may not.
_SINGLE: Final = (RetrieveModelMixin, UpdateModelMixin, DestroyModelMixin)


class _Metaclass(BasePermissionMetaclass):
    """Refuses compositions in which a denial would have to be a plain False."""

    def __or__(self, other: Any) -> NoReturn:
        raise TypeError(
            f"{self.__name__} raises an exception when it denies, so a class to the right of it is"
            f" never called. Write it last: `... | {self.__name__}`."
        )

    def __invert__(self) -> NoReturn:
        raise TypeError(
            f"{self.__name__} raises an exception when it denies, so `~{self.__name__}` would deny"
            " everybody. Write a permission class of your own instead."
        )


class ObjectPermissions(DjangoObjectPermissions, metaclass=_Metaclass):
    """Requires the permission for the request's method, on the model and on each object.

    The response is 404 for objects that the user may not see. For other denials, it's 403, or 401
    for visitors. The exception has the attribute ``explanation``, a
    `djem_async.explain.Explanation`.

    It works with the views of Django REST framework and the async views of adrf. If you override
    its methods, write them with ``def``, not ``async def``.

    Attributes:
        perms_map: The permissions that each method requires, with the placeholders
            ``%(app_label)s`` and ``%(model_name)s``.
    """

    perms_map: dict[str, list[str]] = {
        **DjangoObjectPermissions.perms_map,
        **dict.fromkeys(SAFE_METHODS, _READ),
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("has_permission", "has_object_permission"):
            if iscoroutinefunction(getattr(cls, name)):
                raise TypeError(
                    f"{cls.__name__}.{name} is `async def`, and Django REST framework would treat"
                    " the coroutine as a grant. Declare it with `def`: adrf calls it in a thread."
                )

    def has_permission(self, request: Any, view: Any) -> bool:
        """Check the model level.

        It is left to the objects where access methods are marked with `without_model_level`, if
        the view gets one object, filters its list by `ObjectPermissionsFilter`, or creates by
        `AddPermissionMixin`.

        Args:
            request: The request.
            view: The view, which has a queryset.

        Returns:
            True. For lists of links, and where no permission is required, whether the user is
            signed in. For the latter, ``authenticated_users_only = False`` lets visitors in.

        Raises:
            APIException: The permission is denied: a 403, or a 401 for visitors.
            ImproperlyConfigured: The view has no queryset, or would create objects without asking
                the access methods for that.
        """
        user = run(user_of(request))
        # Lists of links, such as the root of a router, have this attribute.
        if getattr(view, "_ignore_model_permissions", False):
            return bool(user.is_authenticated)
        model = _queryset_of(view).model
        perms = self.get_required_permissions(request.method, model)
        if not perms and self.authenticated_users_only and not user.is_authenticated:
            return False  # nothing else would deny visitors
        for perm in perms:
            _require_checked_creation(request, view, model, perm)
            denial = run(denied(user, perm))
            if denial is None:
                continue
            # On objects, inactive users are denied.
            needed = exemption_needed(user) or Exemption.ACTIVE_USERS
            exemption = max(exemptions(model, perm).values(), default=Exemption.NOBODY)
            if exemption < needed or not _asks_objects(request, view, perm):
                raise _refusal(request, view, denial)
        return True

    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        """Check an object.

        Args:
            request: The request.
            view: The view, which has a queryset.
            obj: The object.

        Returns:
            True.

        Raises:
            NotFound: The user may not see the object, or it's None.
            APIException: The permission is denied: a 403, or a 401 for visitors.
        """
        if obj is None:
            raise NotFound  # without an object, the model level would be checked
        denial = self._denial_on(request, view, obj, request.method)
        if denial is None:
            return True
        if request.method in SAFE_METHODS or self._denial_on(request, view, obj, "GET"):
            try:
                # Raises the same exception as for an object that doesn't exist.
                get_object_or_404(_queryset_of(view).none())
            except Http404 as missing:
                raise _explained(NotFound(*missing.args), denial) from None
        raise _refusal(request, view, denial)

    def _denial_on(self, request: Any, view: Any, obj: Any, method: str) -> PermissionDenied | None:
        user = run(user_of(request))
        perms = self.get_required_object_permissions(method, _queryset_of(view).model)
        denials = (run(denied(user, perm, obj)) for perm in perms)
        return next((each for each in denials if each is not None), None)


def _queryset_of(view: Any) -> Any:
    get_queryset = getattr(view, "get_queryset", None)
    queryset = getattr(view, "queryset", None) if get_queryset is None else get_queryset()
    if queryset is None:
        raise ImproperlyConfigured(
            f"{type(view).__name__} has no queryset, which names the model whose permissions"
            " ObjectPermissions requires. Set `queryset`, or define `get_queryset()`."
        )
    return queryset


def _is_detail(request: Any, view: Any) -> bool:
    """Tell whether a router says that a view is about one object."""
    # A view that asks for another method than that of its request creates, as in PUT as create.
    return bool(getattr(view, "detail", None)) and request.method == view.request.method


def _gets_object(view: Any) -> bool:
    """Tell whether a generic view, or a route of a viewset, is about one object."""
    is_detail: bool | None = getattr(view, "detail", None)  # which routers set
    if is_detail is not None:
        return is_detail
    # In the URL of these, the argument may name a parent.
    if isinstance(view, _MANY):
        return False
    argument = getattr(view, "lookup_url_kwarg", None) or getattr(view, "lookup_field", None)
    return argument in view.kwargs


def _creates_checked(view: Any, perm: str) -> bool:
    if not hasattr(view, "get_serializer_class"):
        return False
    serializer: type = view.get_serializer_class()
    return issubclass(serializer, AddPermissionMixin) and serializer.get_add_perm() == perm


def _require_checked_creation(request: Any, view: Any, model: type[Model], perm: str) -> None:
    """Refuse a view that creates objects without asking the access methods for that."""
    if request.method != "POST":
        return
    # Only routes of viewsets tell for certain that they don't create. In other URLs, the argument
    # may name a parent.
    may_create = perm == perm_for("add", model) and not _is_detail(request, view)
    if not may_create and _gets_object(view):
        return
    asked = {perm: model}
    # Not `isinstance`, after which type checkers miss the methods of generic views.
    if may_create and issubclass(type(view), CreateModelMixin):
        # The serializer may be about another model than the queryset.
        created = getattr(view.get_serializer_class(), "Meta", None)
        if (other := getattr(created, "model", model)) is not model:
            asked[perm_for("add", other)] = other
    for name, owner in asked.items():
        if has_access_method(owner, name) and not _creates_checked(view, name):
            raise ImproperlyConfigured(
                f"{owner.__name__} has an access method for {name}, which {type(view).__name__}"
                " doesn't call for the objects it creates. List AddPermissionMixin first among the"
                ' bases of its serializer. If the view checks by itself, set "POST": [] in the'
                " `perms_map` of a subclass of ObjectPermissions."
            )


def _asks_objects(request: Any, view: Any, perm: str) -> bool:
    """Tell whether objects are asked later on what the model level denies."""
    is_routed = getattr(view, "detail", None) is not None
    is_single = isinstance(view, _SINGLE) and not isinstance(view, _MANY)
    if _is_detail(request, view) or (is_single and not is_routed):
        return True
    if getattr(view, "action", None) not in _OWN_ACTIONS:
        return False
    if request.method == "POST":
        return _creates_checked(view, perm)
    filters = [
        each
        for each in getattr(view, "filter_backends", ())
        if issubclass(each, ObjectPermissionsFilter)
    ]
    model = _queryset_of(view).model
    return request.method in SAFE_METHODS and perm in {each.get_perm(model) for each in filters}


def _refusal(request: Any, view: Any, denial: PermissionDenied) -> Exception:
    try:
        view.permission_denied(request, message=str(denial) or None)
    except APIException as error:
        return _explained(error, denial)
    return denial  # the view's `permission_denied` hasn't raised, which must not grant


def _explained(error: APIException, denial: PermissionDenied) -> APIException:
    vars(error)["explanation"] = vars(denial)["explanation"]
    return error
