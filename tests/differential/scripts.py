"""What access methods do in histories: a few steps, then an answer.

A script is ``[form, steps, answer, mark]``. It is played by one generator that yields the calls
which have an async form, so it does the same in an ``async def`` method, in a plain one, and on the
side of the reference.
"""

from collections.abc import Callable, Generator
from typing import Any

from django.db.models import Q

from djem_async.access import nonblocking, without_model_level

Script = list[Any]
Calls = Generator[tuple[Any, ...], Any, Any]


# Answers that are the same on both sides.
ANSWERS: dict[str, Callable[[], Any]] = {
    "True": lambda: True,
    "False": lambda: False,
    "None": lambda: None,
    "1": lambda: 1,
    "nan": lambda: float("nan"),
    "text": lambda: "no",
    "full": lambda: [0],
    "condition": lambda: Q(pk=1),
}


class Unclear:
    """Has no truth value."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __bool__(self) -> bool:
        raise self.error


def play(
    script: Script, user: Any, world: Any, errors: dict[str, type[Exception]], *, has_mixin: bool
) -> Calls:
    """Do what a script says, and return the answer.

    Args:
        script: The script.
        user: The user that is checked, of either side.
        world: That of the user.
        errors: What to raise for "denied" and for "boom".
        has_mixin: Whether the user has logs and can be cleared.
    """
    _, steps, answer, _ = script
    inner = None
    for name, *arguments in steps:
        if name == "check":
            perm, target, is_logged_again = arguments
            inner = yield "has_perm", perm, *world.given(target)
            if is_logged_again and has_mixin:
                user.log(*user.get_last_log(raw=True))
        elif name == "scope":
            world.scope(*arguments)
        elif not has_mixin:
            continue
        elif name == "log":
            user.log(arguments[0], tag=arguments[1])
        elif name == "start":
            user.start_log(*arguments)
        elif name == "end":
            yield ("end_log",)
        elif name == "clear":
            yield ("clear_perm_cache",)
    if answer in errors:
        raise errors[answer]
    match answer:
        case "denied, and why":
            raise errors["denied"]("the reason")
        case "member":
            return (yield ("exists",))
        case "superuser":
            return user.is_superuser
        case "inner":
            return inner
        case "unclear":
            return Unclear(errors["boom"])
    return ANSWERS[answer]()


def run(calls: Calls, make: Callable[..., Any]) -> Any:
    """Play a script, making its calls with a function."""
    result = None
    try:
        while True:
            result = make(*calls.send(result))
    except StopIteration as end:
        return end.value


async def arun(calls: Calls, make: Callable[..., Any]) -> Any:
    """Play a script, making its calls with a coroutine function."""
    result = None
    try:
        while True:
            result = await make(*calls.send(result))
    except StopIteration as end:
        return end.value


def written(
    source: str,
    codename: str,
    script: Script,
    play_sync: Callable[..., Any],
    play_async: Callable[..., Any],
) -> dict[str, Callable[..., Any]]:
    """Write an access method, as the attributes of a class.

    It calls one of the two functions with ``(script, source, codename, obj, argument)``.
    """
    what = (script, source, codename)

    def plain(self: Any, argument: Any) -> Any:
        return play_sync(*what, self, argument)

    async def native(self: Any, argument: Any) -> Any:
        return await play_async(*what, self, argument)

    async def late(answer: Any) -> Any:
        return answer

    def forgetful(self: Any, argument: Any) -> Any:
        return late(plain(self, argument))

    name, twin = f"_{source}_can_{codename}", f"_a{source}_can_{codename}"
    found: dict[str, dict[str, Callable[..., Any]]] = {
        "def": {name: plain},
        "nonblocking": {name: plain},
        "async def": {name: native},
        "twin": {twin: native},
        "both": {name: plain, twin: native},
        "forgetful": {name: forgetful},
    }
    methods = found[script[0]]
    if script[0] == "nonblocking":
        methods = {name: nonblocking(plain)}
    if script[3]:
        mark = without_model_level(anonymous=script[3] == "everybody")
        methods = {name: mark(method) for name, method in methods.items()}
    return methods
