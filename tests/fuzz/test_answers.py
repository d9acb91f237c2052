"""Access methods that raise any error, or return objects that lie about what they are."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bench import PERM, Bench, Check, Reading, Turn, examples, turns
from tests.fuzz.hostile import ERRORS, VALUES, Plan, misbehaviour, plans, set_class, subclass
from tests.testapp.models import Thing

METHODS = ("_user_can_use_thing", "_group_can_use_thing", "_auser_can_use_thing")
GRANTS = {"True", "1", "a huge number"}
HOSTILE = ("__bool__", "__len__", "__call__", "__next__", "__await__", "__class__", "__eq__")
# A coroutine that awaits a generator of its own is not something that asyncio can run.
hostile = plans(HOSTILE).filter(lambda plan: ("__await__", "a generator") not in plan.methods)


def with_method(bench: Bench, name: str, answer: Callable[..., Any], *, is_async: bool) -> Thing:
    """Make an object of which no other access method grants, nor is nearer than this one."""

    def no(_self: object, _argument: object) -> bool:
        return False

    async def coroutine(_self: object, _argument: object) -> object:
        return answer()

    def plain(_self: object, _argument: object) -> object:
        return answer()

    obj = Thing.objects.get(pk=bench.denied.pk)
    base = subclass(Thing, _user_can_use_thing=no, _group_can_use_thing=no)
    method = coroutine if is_async or name.startswith("_a") else plain
    set_class(obj, subclass(base, **{name: method}))
    return obj


@examples(45)
@given(
    name=st.sampled_from(METHODS),
    is_async=st.booleans(),
    answer=st.sampled_from(sorted(VALUES)) | st.sampled_from(sorted(ERRORS)) | hostile,
    entry=st.sampled_from(["has_perm", "has_perms", "backend", "get_all_permissions"]),
    turn=turns,
)
def test_only_listed_answers_grant(
    bench: Bench, name: str, is_async: bool, answer: str | Plan, entry: str, turn: Turn
) -> None:
    is_hostile = isinstance(answer, Plan)
    make = type("HostileAnswer", (), answer.build()) if is_hostile else misbehaviour(answer)
    obj = with_method(bench, name, make, is_async=is_async)
    reading = Reading.GRANT if answer in GRANTS else Reading.DENY
    bench.attempt(Check(entry, PERM, obj), reading, turn)
