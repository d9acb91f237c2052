"""A panel for django-debug-toolbar that shows the permission checks of a request.

Add ``djem_async.contrib.debug_toolbar.PermissionsPanel`` to ``DEBUG_TOOLBAR_PANELS``.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from inspect import isawaitable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ...explain import Reason, escaped
from ...signals import permission_checked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Iterable, Iterator

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from ...explain import Explanation

if TYPE_CHECKING:

    class Panel:
        """The toolbar's panel, which has no types."""

        is_async: bool
        title: str
        template: str

        def __init__(self, toolbar: Any, get_response: Any) -> None: ...
        def get_response(self, request: HttpRequest) -> Any: ...
        def record_stats(self, stats: dict[str, Any]) -> None: ...
        def get_stats(self) -> dict[str, Any]: ...

else:
    from debug_toolbar.panels import Panel

__all__ = ["PermissionsPanel"]

# With this number of objects or more, the panel folds a group, or suggests to check them together.
_MANY: Final = 5


class _Told(NamedTuple):
    explanation: Explanation
    milliseconds: float


# The panel of this context's request. Tasks and threads of the request inherit it.
_panel_of_request: ContextVar[PermissionsPanel | None] = ContextVar(
    "djem_async_permissions_panel", default=None
)


class PermissionsPanel(Panel):
    """Shows each permission check of a request: the object, the decision, and why."""

    is_async = True
    title = "Permissions"
    template = "djem_async/debug_toolbar.html"

    def __init__(self, toolbar: Any, get_response: Any) -> None:
        super().__init__(toolbar, get_response)
        self._told: list[_Told] = []
        self._start = perf_counter()

    @property
    def nav_subtitle(self) -> str:
        """How many of the checks denied."""
        stats = self.get_stats()
        return f"{stats['denied']} of {stats['number']} denied" if stats else ""

    def enable_instrumentation(self) -> None:
        """Listen to checks."""
        permission_checked.connect(self._hear)

    def disable_instrumentation(self) -> None:
        """Stop listening, so that checks cost again what they cost without the toolbar."""
        permission_checked.disconnect(self._hear)

    def process_request(
        self, request: HttpRequest
    ) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Let the view answer the request, and mark the checks meanwhile as those of the request.

        Args:
            request: The request.

        Returns:
            The response; under ASGI, an awaitable of it.
        """
        self._start = perf_counter()
        with self._in_context():
            response = self.get_response(request)
        return self._awaited(response) if isawaitable(response) else response

    async def _awaited(self, response: Awaitable[HttpResponseBase]) -> HttpResponseBase:
        with self._in_context():
            return await response

    @contextmanager
    def _in_context(self) -> Generator[None]:
        token = _panel_of_request.set(self)
        try:
            yield
        finally:
            _panel_of_request.reset(token)

    def _hear(self, explanation: Explanation, **_kwargs: Any) -> None:
        # Each running request has its own panel, and each panel receives all checks.
        if _panel_of_request.get() is self:
            self._told.append(_Told(explanation, (perf_counter() - self._start) * 1000))

    def generate_stats(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Record the checks, as values that JSON has.

        Args:
            request: The request.
            response: The response.
        """
        told = list(self._told)
        explanations = [each.explanation for each in told]
        nested = {id(each) for outer in explanations for each in outer.nested}
        outermost = [each for each in explanations if id(each) not in nested]
        times = {id(each.explanation): each.milliseconds for each in told}
        self.record_stats(
            {
                "number": len(outermost),
                "denied": sum(not each.granted for each in outermost),
                "groups": list(_groups(outermost, times)),
                "hints": list(_hints(explanations)),
            }
        )


def _groups(
    explanations: Iterable[Explanation], times: dict[int, float]
) -> Iterator[dict[str, Any]]:
    """Group checks by permission and model, in the order of their first checks.

    Repeated checks are one row.
    """
    groups: dict[tuple[Any, ...], dict[tuple[Any, ...], list[Explanation]]] = {}
    for each in explanations:
        group = groups.setdefault((each.perm, each.model, each.object is None), {})
        key = str(each.user), str(each.object), each.granted, each.reason, each.error
        group.setdefault(key, []).append(each)
    for (perm, model, _), rows in groups.items():
        checks: list[dict[str, Any]] = []
        for first, *others in rows.values():
            row, *nested = _rows([first], times)
            checks += [{**row, "times": 1 + len(others)}, *nested]
        firsts = [first for first, *_ in rows.values()]
        granted = sum(first.granted for first in firsts)
        yield {
            "perm": perm,
            "model": model,
            "objects": len({str(each.object) for each in firsts if each.object is not None}),
            "granted": granted,
            "denied": len(rows) - granted,
            "is_open": granted < len(rows) < _MANY,
            "checks": checks,
        }


def _rows(
    explanations: Iterable[Explanation], times: dict[int, float], depth: int = 0
) -> Iterator[dict[str, Any]]:
    """Write checks as rows, each followed by those that its access method made."""
    for each in explanations:
        row = each.as_dict()
        del row["nested"]
        row["lines"] = [escaped(line, but="\n") for line in row["lines"]]
        yield {**row, "indent": "↳ " * depth, "milliseconds": times.get(id(each))}
        yield from _rows(each.nested, times, depth + 1)


def _hints(explanations: Iterable[Explanation]) -> Iterator[dict[str, Any]]:
    """Find permissions that access methods decided on many objects, one at a time."""
    objects: dict[tuple[str, str | None, str | None], set[str]] = {}
    for each in explanations:
        is_asked = each.reason in {Reason.USER_METHOD, Reason.GROUP_METHOD} and not each.cached
        if is_asked and each.object is not None:
            key = each.perm, each.model, each.decided_by
            objects.setdefault(key, set()).add(str(each.object))
    for (perm, model, method), found in objects.items():
        if len(found) >= _MANY:
            yield {"perm": perm, "model": model, "method": method, "number": len(found)}
