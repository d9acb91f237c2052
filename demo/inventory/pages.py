"""What all pages of the demo share."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from djem_async.conf import conf

from .models import User
from .queries import number_of_queries


async def current_user(request: HttpRequest) -> User:
    """Return the signed-in user of a view that requires one."""
    user = await request.auser()
    assert isinstance(user, User)
    return user


async def page(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    context["user"] = await request.auser()
    context["notice"] = await request.session.apop("notice", "")
    context["is_universal"] = conf.DJEM_UNIVERSAL_OLP
    context["queries"] = number_of_queries()
    # Rendering is sync, but it fetches nothing, so it needs no thread.
    return render(request, f"inventory/{template}", context)


async def back_to_list(request: HttpRequest, notice: str) -> HttpResponse:
    await request.session.aset("notice", notice)
    return redirect("product_list")
