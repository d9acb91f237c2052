"""Where djem 0.9.0a8 is meant to differ, each with the promise that says so, and its page."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    djem: str  # what djem does
    page: str  # of the documentation
    promise: str  # what it says instead


DIFFERENCES = {
    # Access methods
    "none": Entry(
        "None counts as no method, and grants", "access-methods", "`None` means False too"
    ),
    "coroutine": Entry(
        "the coroutine of an `async def` is true, and grants",
        "access-methods",
        "a coroutine is never an answer",
    ),
    "twin": Entry(
        "a lone async twin is not known",
        "access-methods",
        "a lone async twin is run with `async_to_sync`",
    ),
    "no answer": Entry(
        "whatever is true grants: text, containers, functions, enum members, `nan`, `Q`",
        "access-methods",
        "what counts as a grant is listed; the rest is an error",
    ),
    "reason": Entry(
        "the message of `PermissionDenied` is lost",
        "access-methods",
        "its message is logged as a line of the method's own",
    ),
    "doubt": Entry(
        "an answer is remembered before its truth value is asked, which may fail",
        "access-methods",
        "any other exception caches nothing",
    ),
    "log": Entry(
        "`log` in a method is a KeyError where logging is off",
        "access-methods",
        "`user.log(...)` is always safe",
    ),
    "last log": Entry(
        "`get_last_log` in a method is a KeyError before the first log",
        "access-methods",
        "methods work with logging off as with logging on",
    ),
    "own log": Entry(
        "a method can end the log of its check, or leave one active above it",
        "access-methods",
        "leaves no log active; logs nest",
    ),
    "error": Entry(
        "an exception leaves the log of the check active",
        "logging",
        "the log is ended with `RESULT: Error (...)`",
    ),
    "recursion": Entry(
        "a check that enters itself overflows the stack",
        "access-methods",
        "raises `PermissionRecursionError`",
    ),
    "absence": Entry(
        "that an object has no access method is remembered",
        "caching",
        "what is remembered is one decision per source; no method makes none",
    ),
    # The backend
    "false object": Entry(
        "an object that is false is no object",
        "reference",
        "the truth value of an object never matters",
    ),
    "no model": Entry(
        "what is no model instance is an AttributeError", "reference", "this backend abstains"
    ),
    "lineage": Entry(
        "sets leave out the permissions of parent models",
        "reference",
        "all permissions of its model and of the models it inherits from",
    ),
    "implicit": Entry(
        "the backend itself asks access methods about superusers",
        "reference",
        "a superuser, without universal OLP, is granted without running access methods",
    ),
    "raw": Entry(
        "the backend returns what the method returned", "reference", "always a real `bool`"
    ),
    "backend log": Entry(
        "the backend itself needs an active log where logging is on",
        "reference",
        "works also when logging is on",
    ),
    "no mixin": Entry(
        "users without the mixin are an AttributeError where logging is on",
        "logging",
        "users without `OLPMixin` get no logs and no errors",
    ),
    "async backend": Entry(
        "a backend that has the async form alone is not asked",
        "reference",
        "every other backend has its say",
    ),
    # The cache
    "unsaved": Entry(
        "all unsaved objects share a decision", "caching", "unsaved objects are never cached"
    ),
    "key": Entry(
        "decisions are shared by objects of equal key, whatever their model and database",
        "caching",
        "two models, two databases, or two classes never share one",
    ),
    "copy": Entry(
        "caches and logs travel with a copy",
        "caching",
        "copying gives an instance with an empty cache and no logs",
    ),
    "clear": Entry(
        "clearing stops at the first of Django's caches that is missing",
        "caching",
        "each of Django's cache attributes by itself",
    ),
    "flight": Entry(
        "what is decided after a clear in the same check is stored",
        "caching",
        "what it computed is not stored after the clear",
    ),
    # Logs
    "replay": Entry(
        "a remembered decision comes without its lines", "logging", "replays the entries"
    ),
    "name": Entry(
        "a check fails where a log of its name is active",
        "logging",
        "nested checks may have logs of one name",
    ),
}
