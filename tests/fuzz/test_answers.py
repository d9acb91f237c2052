"""What access methods return instead of deciding."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import MagicMock

from django.db.models import Exists, F, Q
from django.http import HttpResponse
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bench import PERM, Bench, Check, Reading, Turn, examples, turns
from tests.fuzz.hostile import ERRORS, VALUES, Plan, misbehaviour, plans, set_class, subclass
from tests.fuzz.keys import One
from tests.fuzz.test_names import Choice
from tests.testapp.models import Thing

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWERS: dict[str, Callable[[], object]] = {
    **VALUES,
    "a Decimal": lambda: Decimal("0.5"),
    "a Decimal that is no number": lambda: Decimal("nan"),
    "infinity": lambda: float("inf"),
    "a model instance": Thing,
    "a queryset": Thing.objects.all,
    "a queryset that finds nothing": lambda: Thing.objects.filter(pk=0),
    "a number of an enumeration": lambda: One.ONE,
    "a text of an enumeration": lambda: Choice.USE,
    "a condition": lambda: Q(pk=1),
    "an empty condition": Q,
    "an expression": lambda: F("pk"),
    "a subquery": lambda: Exists(Thing.objects.none()),
    "a response": lambda: HttpResponse(status=403),
    "a mock": MagicMock,
    "an exception": lambda: ValueError("no"),
    "a manager": lambda: Thing.objects,
}
# What counts as a grant is listed.
GRANTS = {"True", "1", "-1", "a huge number", "a Decimal", "a model instance", "a queryset"}
METHODS = ("_user_can_use_thing", "_group_can_use_thing", "_auser_can_use_thing")


def with_method(bench: Bench, name: str, method: Callable[..., Any]) -> Thing:
    """Make an object of which no other access method grants, nor is nearer than this one."""

    def no(_self: object, _argument: object) -> bool:
        return False

    obj = Thing.objects.get(pk=bench.denied.pk)
    base = subclass(Thing, _user_can_use_thing=no, _group_can_use_thing=no)
    set_class(obj, subclass(base, **{name: method}))
    return obj


class Form(NamedTuple):
    """How an answer is given."""

    name: str
    is_async: bool
    depth: int  # of coroutines in coroutines

    def method(self, answer: Callable[[], object]) -> Callable[..., Any]:
        def plain(_self: object, _argument: object) -> object:
            return answer()

        async def coroutine(_self: object, _argument: object) -> object:
            return answer()

        async def nested(_self: object, _argument: object) -> object:
            return coroutine(_self, _argument)

        if not self.is_async and not self.name.startswith("_a"):
            return plain
        return nested if self.depth else coroutine


forms = st.builds(Form, st.sampled_from(METHODS), st.booleans(), st.integers(0, 1))


@examples(90)
@given(
    form=forms,
    answer=st.sampled_from(sorted(ANSWERS)) | st.sampled_from(sorted(ERRORS)),
    entry=st.sampled_from(["has_perm", "has_perms", "backend", "get_all_permissions"]),
    turn=turns,
)
def test_only_listed_answers_grant(
    bench: Bench, form: Form, answer: str, entry: str, turn: Turn
) -> None:
    method = form.method(ANSWERS[answer] if answer in ANSWERS else misbehaviour(answer))
    obj = with_method(bench, form.name, method)
    reading = Reading.GRANT if answer in GRANTS else Reading.DENY
    bench.attempt(Check(entry, PERM, obj), reading, turn)


HOSTILE = ("__bool__", "__len__", "__call__", "__next__", "__await__", "__class__", "__eq__")


@examples(25)
@given(
    form=forms,
    # A coroutine that awaits a generator of its own is not something that asyncio can run.
    plan=plans(HOSTILE).filter(lambda plan: ("__await__", "a generator") not in plan.methods),
    turn=turns,
)
def test_a_hostile_answer_grants_nothing(bench: Bench, form: Form, plan: Plan, turn: Turn) -> None:
    kind = type("HostileAnswer", (), plan.build())
    obj = with_method(bench, form.name, form.method(kind))
    bench.attempt(Check("has_perm", PERM, obj), Reading.DENY, turn)
