"""The errors of djem_async; each is also one of Django's or a builtin."""

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation


class PermissionRecursionError(RecursionError):
    """A check has entered itself: same user, permission and object, same context.

    The message names the chain of checks that led back to the first.
    """


class AsyncMethodError(SynchronousOnlyOperation):
    """A sync check needs an async method, but this thread already runs an event loop.

    The cure is to ``await`` the async form of the check.
    """


class NotADecisionError(TypeError):
    """A method answered a check with something that isn't a decision.

    A `Q`, a text, a response, a function that nobody called or an awaitable in a sync check: each
    is truthy, so reading it as an answer would grant. Return a `bool` instead.
    """


class NoQueryFormError(ImproperlyConfigured):
    """A list was asked for, but an access method only decides one object at a time.

    The cure is to define its query form next to it. The message shows the lines to write.
    """
