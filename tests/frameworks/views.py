"""Views that require permissions by this package alone, in each form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.template import Context, Template
from django.urls import path
from django.views import View

from djem_async.auth import PermissionRequiredMixin, permission_required
from tests.frameworks.models import Post

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest

WAYS = ("decorator", "mixin", "ifperm")


def view(request: HttpRequest, pk: Any) -> HttpResponse:
    return HttpResponse(request.user.get_username())


async def aview(request: HttpRequest, pk: Any) -> HttpResponse:
    return HttpResponse((await request.auser()).get_username())


class ClassView(PermissionRequiredMixin, View):
    raise_exception = True

    def get(self, request: HttpRequest, pk: Any) -> HttpResponse:
        return view(request, pk)


class AsyncClassView(PermissionRequiredMixin, View):
    raise_exception = True

    async def get(self, request: HttpRequest, pk: Any) -> HttpResponse:
        return await aview(request, pk)


def urls(perm: str, model: type[Model]) -> list[Any]:
    """Make views that ask for a permission on an object; their status tells the answer."""
    required = permission_required((perm, "pk"), raise_exception=True)
    tag = "{% load djem_async %}{% ifperm user perm obj %}200{% else %}403{% endifperm %}"

    def ifperm(request: HttpRequest, pk: int) -> HttpResponse:
        context = {"user": request.user, "perm": perm, "obj": get_object_or_404(model, pk=pk)}
        return HttpResponse(status=int(Template(tag).render(Context(context))))

    async def aifperm(request: HttpRequest, pk: int) -> HttpResponse:
        return await sync_to_async(ifperm)(request, pk)

    pairs = {
        "decorator": (required(view), required(aview)),
        "mixin": (
            ClassView.as_view(permission_required=[(perm, "pk")]),
            AsyncClassView.as_view(permission_required=[(perm, "pk")]),
        ),
        "ifperm": (ifperm, aifperm),
    }
    return [
        path(f"{mode}/{way}/<int:pk>/", each)
        for way, pair in pairs.items()
        for mode, each in zip(("sync", "async"), pair, strict=True)
    ]


urlpatterns = urls("frameworks.change_post", Post)
