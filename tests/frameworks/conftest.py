"""Fixtures for tests with other packages: two users, and a browser for sync and for async views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import AsyncClient, Client

from tests.frameworks.models import Note, Post

if TYPE_CHECKING:
    from collections.abc import Callable


class Browser(NamedTuple):
    """Asks views of one kind, sync or async, with the client for them."""

    mode: str
    client: Any

    def get(self, view: str, argument: Any, token: Any = None, **headers: str) -> Any:
        if token is not None:
            headers["Authorization"] = f"Bearer {token.get_username()}"
        get = self.client.get if self.mode == "sync" else async_to_sync(self.client.get)
        return get(f"/{self.mode}/{view}/{getattr(argument, 'pk', argument)}/", headers=headers)


@pytest.fixture(params=["sync", "async"])
def browser(request: pytest.FixtureRequest, db: None) -> Browser:
    return Browser(request.param, Client() if request.param == "sync" else AsyncClient())


@pytest.fixture
def user_with(db: None) -> Callable[..., Any]:
    """Make a user with model-level permissions: ``user_with("ann", "change_post")``."""

    def make(name: str, *codenames: str, **fields: Any) -> Any:
        user = get_user_model().objects.create_user(name, **fields)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return user

    return make


@pytest.fixture
def owner(user_with: Callable[..., Any]) -> Any:
    return user_with("owner", "change_post", is_staff=True)


@pytest.fixture
def other(user_with: Callable[..., Any]) -> Any:
    """A user with the permissions of the owner, who owns nothing."""
    return user_with("other", "change_post", is_staff=True)


@pytest.fixture
def post(owner: Any) -> Post:
    return Post.objects.create(owner=owner)


@pytest.fixture
def note(db: None) -> Note:
    return Note.objects.create()
