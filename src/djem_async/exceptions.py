"""The errors of djem_async; each is also one of Django's or a builtin."""

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation


class PermissionRecursionError(RecursionError):
    """A check led back to itself: same user, permission and object, in one task or thread.

    It's also raised if so many checks are nested that Python's recursion limit is reached. The
    message shows the chain of checks.
    """


class AsyncMethodError(SynchronousOnlyOperation):
    """A sync check needs a method that is only ``async def``, and this thread runs an event loop.

    Use the async form of the check: ``await user.ahas_perm(...)``.
    """


class NotADecisionError(TypeError):
    """A method returned something truthy that isn't an answer. Return a `bool` instead.

    Examples are text, a `Q`, a list, a response, a member of an enum, and a function that wasn't
    called. As these are truthy, taking them for an answer would grant the permission.

    It's also raised for a query form that doesn't return a condition, for a coroutine that a plain
    method returns in a sync check, and for a method whose name says that it's async, but isn't.
    """


class NoQueryFormError(ImproperlyConfigured):
    """A list needs an access method that only decides about one object at a time.

    Define its query form next to it. The message shows the lines to write.
    """
