"""Views that require permissions, in every form, and a site that serves them."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.views import View

from djem_async.auth import PermissionRequiredMixin, permission_required


class Run(NamedTuple):
    """What a view was run with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    view_kwargs: dict[str, Any] | None = None  # those of the instance of a class-based view


def function_view(mode: str, runs: list[Run]) -> Callable[..., Any]:
    """Make a view that notes its runs, sync or async."""

    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        runs.append(Run(args, kwargs))
        return HttpResponse("ran")

    async def async_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return view(request, *args, **kwargs)

    return view if mode == "sync" else async_view


def view_class(mode: str, runs: list[Run], **attributes: Any) -> type[View]:
    """Make a view class that requires permissions and notes its runs, sync or async."""

    def handle(self: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        runs.append(Run(args, kwargs, self.kwargs))
        return HttpResponse("ran")

    async def async_handle(self: View, request: HttpRequest, *args: Any, **kw: Any) -> HttpResponse:
        return handle(self, request, *args, **kw)

    handler = handle if mode == "sync" else async_handle
    methods = {"get": handler, "post": handler}
    return type("RequiringView", (PermissionRequiredMixin, View), {**methods, **attributes})


def bare(**attributes: Any) -> HttpRequest:
    """Make a request without a user, or with these attributes."""
    get = RequestFactory().get("/")
    vars(get).update(attributes)
    return get


KINDS = [*itertools.product(["function", "class"], ["sync", "async"])]


class Site:
    """Serves views of one kind, and asks them with one of Django's clients.

    Args:
        settings: pytest-django's fixture.
        kind: Whether views are a "function" or a "class".
        mode: Whether views are "sync" or "async".
        client: Whether the client is "sync" or "async".
    """

    def __init__(
        self, settings: Any, kind: str = "function", mode: str = "sync", client: str = "sync"
    ) -> None:
        self.settings = settings
        self.kind = kind
        self.mode = mode
        self.client = client
        self.runs: list[Run] = []

    def view(self, *perms: Any, **options: Any) -> Callable[..., Any]:
        """Make a view that requires permissions."""
        if self.kind == "function":
            return permission_required(*perms, **options)(function_view(self.mode, self.runs))
        return view_class(self.mode, self.runs, permission_required=perms, **options).as_view()

    def visit(self, get: HttpRequest, *perms: Any, **options: Any) -> Any:
        """Call a view that requires permissions, without a server, and return its response."""
        kwargs = options.pop("view_kwargs", {})
        view = self.view(*perms, **options)
        self.runs.clear()
        return (view if self.mode == "sync" else async_to_sync(view))(get, **kwargs)

    def run_of(self, user: Any, perms: Any, **view_kwargs: Any) -> Run | None:
        """Return what a view ran with, None if the user was denied."""
        options = {"raise_exception": True, "view_kwargs": view_kwargs}
        try:
            self.visit(bare(user=user), *perms, **options)
        except PermissionDenied:
            assert not self.runs
            return None
        return self.runs[0]

    def require(self, *perms: Any, route: str = "<str:pk>/", **options: Any) -> None:
        """Serve a view that requires permissions."""
        self.serve(self.view(*perms, **options), route)

    def serve(self, view: Callable[..., Any], route: str = "", **kwargs: Any) -> None:
        """Serve a view, under one route only."""
        self.settings.ROOT_URLCONF = (path(route, view, kwargs),)

    def get(self, url: str = "/", user: Any = None, method: str = "GET", **extra: Any) -> Any:
        """Return the response to a request of a user, anonymous if there is none."""
        if self.client == "sync":
            client = Client()
            if user is not None:
                client.force_login(user)
            return client.generic(method, url, **extra)
        return async_to_sync(self.aget)(url, user, method, **extra)

    async def aget(self, url: str, user: Any, method: str = "GET", **extra: Any) -> Any:
        """Return the response to a request of a user, see `get`."""
        client = AsyncClient()
        if user is not None:
            await client.aforce_login(user)
        return await client.generic(method, url, **extra)

    @property
    def has_run(self) -> bool:
        """Whether a view has been run."""
        return bool(self.runs)


# The views of the URLconf, which real servers serve.

USE_THING = ("testapp.use_thing", "pk")


@permission_required(USE_THING)
def thing(request: HttpRequest, pk: Any) -> HttpResponse:
    return HttpResponse(f"{pk} for {request.user}")


@permission_required(USE_THING)
async def async_thing(request: HttpRequest, pk: Any) -> HttpResponse:
    return HttpResponse(f"{pk} for {await request.auser()}")


class ThingView(PermissionRequiredMixin, View):
    permission_required = [USE_THING]

    def get(self, request: HttpRequest, pk: Any) -> HttpResponse:
        return HttpResponse(f"{pk} for {request.user}")


class AsyncThingView(PermissionRequiredMixin, View):
    permission_required = [USE_THING]

    async def get(self, request: HttpRequest, pk: Any) -> HttpResponse:
        return HttpResponse(f"{pk} for {await request.auser()}")
