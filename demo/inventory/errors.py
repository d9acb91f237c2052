"""The error pages, which say why.

Django calls these in a thread of their own, where queries are possible.
"""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from djem_async.explain import Explanation

from .models import Product, User


def refused(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that was denied, with the reason."""
    # Visitors have no log, and exceptions that no check has raised no explanation.
    explanation: Explanation | None = getattr(exception, "explanation", None)
    user = request.user
    log = user.get_last_log() if explanation is not None and isinstance(user, User) else ""
    messages = explanation.messages if explanation is not None else ()
    reason = ". ".join(messages) or str(exception) or "You may not do this."
    return _answer(request, HTTPStatus.FORBIDDEN, reason, log=log, explanation=explanation)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request for something that does not exist."""
    # For an unknown address Django gives no message, but a list of those that it knows.
    reason = exception.args[0] if exception.args else ""
    if not isinstance(reason, str):
        reason = f"There is no page at {request.path}."
    return _answer(request, HTTPStatus.NOT_FOUND, reason)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that was not sent from one of our pages."""
    return _answer(request, HTTPStatus.FORBIDDEN, reason)


def _answer(
    request: HttpRequest,
    status: HTTPStatus,
    reason: str,
    log: str = "",
    explanation: Explanation | None = None,
) -> HttpResponse:
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        content = {"error": status.phrase, "reason": reason, "log": log.split("\n") if log else []}
        return JsonResponse(content, status=status)
    context: dict[str, Any] = {"status": status, "reason": reason, "log": log}
    context |= {"user": request.user, "explanation": explanation, "back": _back(request)}
    if explanation is not None and explanation.model == "inventory.Product":
        context["product"] = Product.objects.filter(pk=explanation.object).first()
    return render(request, "inventory/error.html", context, status=status)


def _back(request: HttpRequest) -> str:
    """Return the page of ours that the request came from, if there is one."""
    came_from = request.headers.get("referer", "")
    is_ours = url_has_allowed_host_and_scheme(came_from, allowed_hosts={request.get_host()})
    return came_from if is_ours and urlsplit(came_from).path != request.path else ""
