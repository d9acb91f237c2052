"""A check that is running, and the calls of user code that it makes.

Code that a check calls may make other checks, or repeat the same check. A context variable, which
is only set during the call, tells which check has called it.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypeAlias

from django.db.models import Model

from ._context import active_logs, innermost_call
from ._store import Generation, PermissionCache, generation_of, object_key
from .conf import conf
from .exceptions import PermissionRecursionError
from .explain import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .explain import Explanation

Kind: TypeAlias = Literal["access method", "quiet", "other"]
"""The kind of a call of user code. Checks within quiet calls are quiet, too."""

_DEEP: Final = 30  # deeper than checks are nested in practice


class _Question(NamedTuple):
    """What a check is deciding. A user and a backend may be asked the same question."""

    asked: str
    perm: str
    obj: object

    def __str__(self) -> str:
        if self.obj is None:
            return self.perm
        if isinstance(self.obj, type):
            return f"{self.perm} on all of {self.obj.__name__}"
        return f"{self.perm} on {type(self.obj).__name__} {getattr(self.obj, 'pk', None)!r}"


class Step(NamedTuple):
    """A step of a check that decides, as far as is known."""

    reason: Reason = Reason.NO_METHOD
    by: str | None = None
    cached: bool = False
    lines: tuple[str, ...] = ()


class Check:
    """A running check of one user, with the generation of the cache that it began with.

    Args:
        user: The user.
        generation: The generation, if it has been looked up already.
    """

    __slots__ = (
        "fresh_cache",
        "generation",
        "is_quiet",
        "is_vetoed",
        "logs",
        "nested",
        "outer",
        "questions",
        "step",
        "user",
        "verbosity",
    )

    def __init__(self, user: Any, generation: Generation | None = None) -> None:
        self.user = user
        self.generation = known_of(user) if generation is None else generation
        # If the check has to ignore the cache: what it and nested checks use instead.
        self.fresh_cache: PermissionCache | None = None
        outer = _current()
        self.outer: _UserCode | None = outer
        self.questions: list[_Question] = []
        self.logs: tuple[Any, ...] = active_logs.get()
        self.is_vetoed = False  # by a backend, at the model level
        self.step = Step()
        # The explanations of nested checks, if this check is being explained.
        self.nested: list[Explanation] | None = None
        self.is_quiet: bool = outer is not None and outer.is_quiet
        self.verbosity = conf.DJEM_PERM_LOG_VERBOSITY
        # A quiet check sends no signal and leaves no log. Access methods can still read the logs of
        # the checks that they make.
        if outer is not None and outer.check is not None and outer.is_quiet:
            self.verbosity = self.verbosity if outer.is_access_method else outer.check.verbosity

    def because(
        self,
        reason: Reason,
        by: str | None = None,
        *,
        cached: bool = False,
        lines: Iterable[str] = (),
    ) -> None:
        """Record the step that decides, as far as is known. The last recorded one counts."""
        if self.nested is not None:
            self.step = Step(reason, by, cached, tuple(lines))

    @property
    def is_nested(self) -> bool:
        """Whether an access method has made this check."""
        return any(call.is_access_method for call in _outwards(self.outer))

    def deciding(self, asked: str, perm: str, obj: object = None) -> _Deciding:
        """Enter a decision, unless it is being made already. Nested checks will refuse it, too.

        Raises:
            PermissionRecursionError: It is being decided already.
        """
        question = _Question(asked, perm, obj)
        if self.outer is not None:
            self._refuse_recursion(question)
        return _Deciding(self, question)

    def calling(self, kind: Kind = "other", *logs: object) -> Callable[[], _UserCode]:
        """Return the scope for calls of user code, with the logs that it writes to."""
        return lambda: _UserCode(self, (*self.logs, *logs), kind)

    def is_model_level_step(self, perm: str, model: str | None) -> bool:
        """Tell whether this check is the model-level step of a check of objects."""
        call = self.outer
        outer = None if call is None or call.is_access_method else call.check
        if outer is None or model is not None or outer.user is not self.user or not outer.questions:
            return False
        last = outer.questions[-1]
        return last.perm == perm and last.asked != "user"

    def chain(self) -> Iterator[tuple[Check, _Question]]:
        """Iterate over all decisions being made, from the innermost to the outermost."""
        check: Check | None = self
        while check is not None:
            for question in reversed(check.questions):
                yield check, question
            check = None if check.outer is None else check.outer.check

    def _refuse_recursion(self, question: _Question) -> None:
        chain: list[_Question] = []
        for check, other in self.chain():
            chain.append(other)
            if (
                other[:2] == question[:2]
                and _is_same(check.user, self.user)
                and _is_same(other.obj, question.obj)
            ):
                raise PermissionRecursionError(
                    f"The check of {question} entered itself: {_titles(chain)} -> {question}."
                    " An access method must not check what it is deciding."
                )


class _Deciding:
    """A context manager in which a check makes a decision.

    Raises:
        PermissionRecursionError: Python's recursion limit is reached by nested checks.
    """

    __slots__ = ("_check", "_question")

    def __init__(self, check: Check, question: _Question) -> None:
        self._check = check
        self._question = question

    def __enter__(self) -> None:
        self._check.questions.append(self._question)

    def __exit__(self, kind: object, error: BaseException | None, _traceback: object) -> None:
        chain = [each for _, each in self._check.chain()] if kind is RecursionError else []
        self._check.questions.pop()
        if len(chain) >= _DEEP:
            ends = f"{_titles(chain[-3:])} -> ... -> {_titles(chain[:3])}"
            raise PermissionRecursionError(
                f"Too many checks are nested: {ends}. Let access methods check fewer other objects,"
                " or follow the chain in one query."
            ) from error


def _titles(chain: list[_Question]) -> str:
    """Name the decisions being made, from the outermost. The steps of one check have one title."""
    return " -> ".join(title for title, _ in groupby(map(str, reversed(chain))))


class _UserCode:
    """A call of user code for a check, as a context manager.

    It counts as running until the call ends. A thread can't be stopped, so code that a cancelled
    check has called there goes on, and has to use the generation that the check began with. A task
    that the call has started and that goes on after it isn't part of it.
    """

    __slots__ = ("_before", "_logs", "check", "is_access_method", "is_quiet", "outer")

    def __init__(self, check: Check, logs: tuple[Any, ...], kind: Kind) -> None:
        self.check: Check | None = check
        self.outer = check.outer
        self.is_access_method = kind == "access method"
        self.is_quiet: bool = kind == "quiet" or check.is_quiet
        self._logs = logs

    def __enter__(self) -> Self:
        self._before = innermost_call.get(), active_logs.get()
        innermost_call.set(self)
        active_logs.set(self._logs)
        return self

    def __exit__(self, *_error: object) -> None:
        # Otherwise, an abandoned coroutine is being closed in an arbitrary context. A cancelled hop
        # may have left its own calls here.
        if any(call is self for call in _outwards(innermost_call.get())):
            call, logs = self._before
            innermost_call.set(call)
            active_logs.set(self._left_active(logs))
        self.check = None
        self._before, self._logs = (None, ()), ()

    def _left_active(self, before: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the logs that stay active after the call, without those that it started."""
        active: tuple[Any, ...] = active_logs.get()
        if active is self._logs or self.check is None:
            return before
        user = self.check.user
        return tuple(
            log
            for log in active
            if log in before
            or (log not in self._logs and log.is_active and log.store().owner() is not user)
        )


def _outwards(call: _UserCode | None) -> Iterator[_UserCode]:
    """Iterate over a call and its outer calls."""
    while call is not None:
        yield call
        call = call.outer


def _current() -> _UserCode | None:
    """Return the innermost call that hasn't ended."""
    call: _UserCode | None = innermost_call.get()
    while call is not None and call.check is None:
        call = call.outer
    return call


def is_explained() -> bool:
    """Tell whether a check that begins in this context is being explained."""
    call = _current()
    return call is not None and call.check is not None and call.check.nested is not None


def is_in_access_method() -> bool:
    """Tell whether an access method is running in this context."""
    call = _current()
    return call is not None and call.is_access_method


def known_of(user: Any) -> Generation:
    """Return the generation that a check of a user that begins in this context uses."""
    for call in _outwards(innermost_call.get()):
        check = call.check
        if check is not None and check.fresh_cache is not None and check.user is user:
            return generation_of(user, check.fresh_cache)
    return generation_of(user)


def generation_in_use(user: object) -> Generation:
    """Return the generation of the innermost running check of a user, else the current one."""
    for call in _outwards(innermost_call.get()):
        if call.check is not None and call.check.user is user:
            return call.check.generation
    return generation_of(user)


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether two instances are the same object or the same row."""
    if one is other:
        return True
    if not (issubclass(type(one), Model) and issubclass(type(other), Model)):
        return False
    key = object_key(one)
    return key is not None and key == object_key(other)
