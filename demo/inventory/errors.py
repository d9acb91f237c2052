"""The error pages, which say why.

Django calls these in a thread of their own, so they fetch nothing.
"""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from .models import User


def refused(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that was denied, with the log of the check that denied it."""
    # The check has loaded the user already.
    user = request.user if isinstance(request.user, User) else None
    log = user.get_last_log() if user else ""
    reason = "You may not do this."
    return _answer(request, HTTPStatus.FORBIDDEN, reason, log=log, user=user)


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
    request: HttpRequest, status: HTTPStatus, reason: str, log: str = "", user: User | None = None
) -> HttpResponse:
    wants = request.get_preferred_type(["text/html", "application/json"])
    if request.path.startswith("/api/") or wants == "application/json":
        content = {"error": status.phrase, "reason": reason, "log": log.split("\n") if log else []}
        return JsonResponse(content, status=status)
    context = {"status": status, "reason": reason, "log": log, "user": user}
    return render(request, "inventory/error.html", context, status=status)
