"""What a decision is made of: a generator that yields the calls it needs made.

A plain generator cannot await and cannot block on purpose, so the rules written in one serve
the sync and the async API alike. `djem_async._driving` makes the calls.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from types import EllipsisType, NotImplementedType
from typing import Any, Final, TypeAlias, TypeVar

from .exceptions import NotADecisionError

T = TypeVar("T")


class Call:
    """A call to be made for a flow, in the sync or in the async form.

    Args:
        function: The sync form, or None if there is only an async one. It may turn out to be
            ``async def``.
        async_function: The async form, or None if there is only a sync one.
        args: The positional arguments, the same for both forms.
        blocking: Whether the sync form may do I/O, so that it must not run on an event loop.
        is_plain: Whether the sync form is known not to be ``async def``.
        is_same_in_thread: Whether the sync form does as well for async code in a thread.
    """

    __slots__ = (
        "args",
        "async_function",
        "blocking",
        "function",
        "is_plain",
        "is_same_in_thread",
    )

    def __init__(
        self,
        function: Callable[..., object] | None,
        async_function: Callable[..., Awaitable[object]] | None = None,
        args: tuple[object, ...] = (),
        *,
        blocking: bool = True,
        is_plain: bool = False,
        is_same_in_thread: bool = False,
    ) -> None:
        self.function = function
        self.async_function = async_function
        self.args = args
        self.blocking = blocking
        self.is_plain = is_plain
        self.is_same_in_thread = is_same_in_thread

    @property
    def label(self) -> str:
        """The name of what is called, for error messages."""
        called = self.async_function if self.function is None else self.function
        return getattr(called, "__qualname__", None) or repr(called)


Flow: TypeAlias = Generator[Call, Any, T]

Method = TypeVar("Method", bound=Callable[..., Any])

# By the function itself: an attribute of it would be copied to what `functools.wraps` makes of it.
_flows: Final[dict[Any, Callable[..., Flow[Any]]]] = {}


def driven_by(flow: Callable[..., Flow[Any]]) -> Callable[[Method], Method]:
    """Declare that a method does nothing but run a flow, so that other flows can run it in line.

    Args:
        flow: What makes the flow, with the arguments of the method.
    """

    def decorate(method: Method) -> Method:
        _flows[method] = flow
        return method

    return decorate


def flow_of(instance: object, name: str) -> Callable[..., Flow[Any]] | None:
    """Find the flow that both forms of a method run, None if either does anything else.

    Args:
        instance: The object whose method is looked up.
        name: The name of the sync form. The async one has an ``a`` before it.
    """
    kind: Any = type(instance)
    async_name = f"a{name}"
    found = _flows.get(getattr(kind, name, None))
    if found is None or _flows.get(getattr(kind, async_name, None)) is not found:
        return None
    own = vars(instance)
    return None if name in own or async_name in own else found


# `...` is the body of a method that nobody wrote, `NotImplemented` is for operators.
_NO_ANSWERS: Final = (Iterator, AsyncIterator, BaseException, EllipsisType, NotImplementedType)


def truth(answer: object, label: str) -> Flow[bool]:
    """Turn what a method returned into a decision.

    Args:
        answer: What it returned.
        label: The name of the method.

    Raises:
        NotADecisionError: It returned an iterator, something to call or an exception, which is
            truthy but never an answer.
    """
    if answer is None or isinstance(answer, bool):
        return bool(answer)
    if callable(answer) or isinstance(answer, _NO_ANSWERS):
        raise NotADecisionError(
            f"{label} returned {answer!r}, which cannot be a decision. Return True or False"
            " (is there a `yield` in the method, a function that is not called, or an exception"
            " that is not raised?)."
        )
    # The truth value of a queryset is a query, so it is asked for where queries may be made.
    return bool((yield Call(bool, None, (answer,))))
