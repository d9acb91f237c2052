"""An API with our permission classes: each viewset with Django REST framework, and with adrf."""

from __future__ import annotations

from typing import Any

import adrf.routers
import adrf.serializers
import adrf.viewsets
from adrf.views import APIView as AsyncAPIView
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.urls import include, path
from rest_framework import routers, serializers, viewsets
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import action
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from djem_async.contrib.rest_framework import (
    AddPermissionMixin,
    ObjectPermissions,
    ObjectPermissionsFilter,
)
from tests.frameworks.models import Article, Memo


class Bearer(BaseAuthentication):
    def authenticate(self, request: Any) -> Any:
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        return (get_user_model().objects.get(username=token), token) if token else None

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"


class Pages(PageNumberPagination):
    page_size = 2


class Publish(ObjectPermissions):
    perms_map = {
        **ObjectPermissions.perms_map,
        "POST": ["%(app_label)s.publish_%(model_name)s"],
    }


PUBLISH = [IsAuthenticated & Publish]


class Common:
    """What the viewsets of both packages share."""

    authentication_classes = [Bearer]
    permission_classes = [ObjectPermissions]
    pagination_class = Pages


class Filtered(Common):
    filter_backends = [ObjectPermissionsFilter]


def serializer(base: Any, of: Any, *bases: type) -> Any:
    class Meta:
        model = of
        fields = ["id", "author", "title", "is_published"]

    return type(f"{of.__name__}Serializer", (*bases, base), {"Meta": Meta})


def viewset(mode: str, model: Any, *bases: type, **attributes: Any) -> Any:
    package = (adrf.serializers, adrf.viewsets) if mode == "async" else (serializers, viewsets)
    attributes.setdefault("queryset", model.objects.order_by("pk"))
    attributes.setdefault(
        "serializer_class", serializer(package[0].ModelSerializer, model, AddPermissionMixin)
    )
    return type(f"{model.__name__}ViewSet", (*bases, package[1].ModelViewSet), attributes)


@action(detail=True, methods=["post"], url_path="publish", permission_classes=PUBLISH)
def publish(self: Any, request: Any, pk: Any) -> Response:
    article = self.get_object()
    article.is_published = True
    article.save()
    return Response(self.get_serializer(article).data)


@action(detail=True, methods=["post"], url_path="publish", permission_classes=PUBLISH)
async def apublish(self: Any, request: Any, pk: Any) -> Response:
    article = await self.aget_object()
    article.is_published = True
    await article.asave()
    return Response(await self.get_serializer(article).adata)


@action(detail=False)
def titles(self: Any, request: Any) -> Response:
    return Response([each.title for each in self.get_queryset()])


class Plain(Common, APIView):
    """A view that isn't generic: it asks for itself."""

    queryset = Article.objects.all()

    def get(self, request: Any, pk: int) -> Response:
        self.check_object_permissions(request, Article.objects.get(pk=pk))
        return Response(request.user.get_username())


class AsyncPlain(Common, AsyncAPIView):
    queryset = Article.objects.all()

    async def get(self, request: Any, pk: int) -> Response:
        article = await Article.objects.aget(pk=pk)
        await sync_to_async(self.check_object_permissions)(request, article)
        return Response((await request.auser()).get_username())


def router(mode: str) -> Any:
    found = (adrf.routers if mode == "async" else routers).DefaultRouter()
    act = {"apublish": apublish} if mode == "async" else {"publish": publish}
    for name, base in [("filtered", Filtered), ("open", Common)]:
        for model in (Article, Memo):
            label = f"{name}-{model._meta.model_name}"
            extra = act if model is Article else {"titles": titles}
            found.register(label, viewset(mode, model, base, **extra), f"{mode}-{label}")
    found.APIRootView = type(
        "Root", (Common, found.APIRootView), {"__doc__": "The list of the viewsets."}
    )
    return found


urlpatterns = [
    path("sync/plain/<int:pk>/", Plain.as_view()),
    path("async/plain/<int:pk>/", AsyncPlain.as_view()),
    path("sync/", include(router("sync").urls)),
    path("async/", include(router("async").urls)),
]
