"""Django REST framework and adrf: the user that they authenticate counts."""

from __future__ import annotations

from typing import Any

import pytest
from adrf.decorators import api_view as async_api_view
from adrf.views import APIView as AsyncAPIView
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.shortcuts import aget_object_or_404, get_object_or_404
from django.test import RequestFactory
from django.urls import path
from django.utils.decorators import method_decorator
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from djem_async.auth import (
    ObjectPermissionRequiredMixin,
    PermissionRequiredMixin,
    permission_required,
)
from tests.frameworks.models import Post

pytestmark = pytest.mark.urls(__name__)
PERM = "frameworks.change_post"
change_post = permission_required((PERM, "pk"), raise_exception=True)


class Bearer(BaseAuthentication):
    def authenticate(self, request: Any) -> Any:
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        return (get_user_model().objects.get(username=token), token) if token else None


class AsyncBearer(Bearer):
    async def authenticate(self, request: Any) -> Any:
        return await sync_to_async(super().authenticate)(request)


@api_view()
@authentication_classes([Bearer])
@change_post
def decorated(request: Any, pk: Any) -> Response:
    return Response(request.user.get_username())


@async_api_view(["GET"])
@authentication_classes([AsyncBearer])
@change_post
async def adecorated(request: Any, pk: Any) -> Response:
    return Response((await request.auser()).get_username())


class ChangePost(BasePermission):
    def has_object_permission(self, request: Any, view: Any, obj: Post) -> bool:
        return request.user.has_perm(PERM, obj)


class AsyncChangePost(BasePermission):
    async def has_object_permission(self, request: Any, view: Any, obj: Post) -> bool:
        return await request.user.ahas_perm(PERM, obj)


class Permitted(APIView):
    authentication_classes = [Bearer, SessionAuthentication]
    permission_classes = [IsAuthenticated, ChangePost]

    def get(self, request: Any, pk: int) -> Response:
        self.check_object_permissions(request, get_object_or_404(Post, pk=pk))
        return Response(request.user.get_username())


class AsyncPermitted(AsyncAPIView):
    authentication_classes = [AsyncBearer, SessionAuthentication]
    permission_classes = [IsAuthenticated, AsyncChangePost]

    async def get(self, request: Any, pk: int) -> Response:
        post = await aget_object_or_404(Post, pk=pk)
        await sync_to_async(self.check_object_permissions)(request, post)
        return Response(request.user.get_username())


urlpatterns = [
    path("sync/decorator/<int:pk>/", decorated),
    path("async/decorator/<int:pk>/", adecorated),
    path("sync/permission/<int:pk>/", Permitted.as_view()),
    path("async/permission/<int:pk>/", AsyncPermitted.as_view()),
]


@pytest.mark.parametrize("has_session", [False, True])
@pytest.mark.parametrize("way", ["decorator", "permission"])
def test_user_of_token_counts(browser, owner, other, post, way, has_session):
    refusal = "You do not have permission"  # their own words, as there is no reason
    for user, by_session, status, text in [
        (owner, other, 200, "owner"),
        (other, owner, 403, refusal),
    ]:
        if has_session:
            browser.client.force_login(by_session)
        response = browser.get(way, post, token=user)
        assert response.status_code == status
        assert text in response.content.decode()


@pytest.mark.parametrize("way", ["decorator", "permission"])
@pytest.mark.parametrize("unauthenticated", [None, "django.contrib.auth.models.AnonymousUser"])
def test_unauthenticated_user_denied(browser, owner, post, way, unauthenticated, settings):
    settings.REST_FRAMEWORK = {"UNAUTHENTICATED_USER": unauthenticated}
    if way == "decorator":
        browser.client.force_login(owner)  # this view only accepts tokens
    assert browser.get(way, post).status_code == 403


@pytest.mark.parametrize("view", [APIView, AsyncAPIView])
@pytest.mark.parametrize("mixin", [PermissionRequiredMixin, ObjectPermissionRequiredMixin])
def test_what_would_run_before_authentication_is_an_error(browser, post, view, mixin):
    with pytest.raises(ImproperlyConfigured, match="permission class"):
        type("Mixed", (mixin, view), {})
    with pytest.raises(ImproperlyConfigured, match="permission class"):
        change_post(view.as_view())
    dispatch = method_decorator(change_post, name="dispatch")
    decorated = dispatch(type("Decorated", (view,), {}))
    with pytest.raises(ImproperlyConfigured, match="permission class"):
        decorated.as_view()(RequestFactory().get("/"), pk=post.pk)
