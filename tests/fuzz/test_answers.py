"""What access methods do and return instead of deciding."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bench import PERM, Bench, Check, Reading, Turn, examples, turns
from tests.fuzz.hostile import ERRORS, VALUES, Plan, does, misbehaviour, plans, set_class, subclass
from tests.testapp.models import Thing

if TYPE_CHECKING:
    from collections.abc import Callable

# Values that nobody can mean as an answer, and those that are granted by their truth value.
REFUSED = {"a class", "a generator", "an awaitable", "NotImplemented", "Ellipsis"}
TRUE = {kind for kind, make in VALUES.items() if kind not in REFUSED and make()}
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


@examples(70)
@given(
    form=forms,
    does=does,
    entry=st.sampled_from(["has_perm", "has_perms", "backend", "get_all_permissions"]),
    turn=turns,
)
def test_an_answer_is_its_truth_value_or_refused(
    bench: Bench, form: Form, does: str, entry: str, turn: Turn
) -> None:
    method = form.method(misbehaviour(does))
    obj = with_method(bench, form.name, method)
    bench.attempt(Check(entry, PERM, obj), Reading.GRANT if does in TRUE else Reading.DENY, turn)


def is_finite(plan: Plan) -> bool:
    """Tell whether a coroutine that awaits it is something that asyncio can run."""
    return ("__await__", "a generator") not in plan.methods


ANSWER = (
    "__bool__",
    "__len__",
    "__call__",
    "__next__",
    "__await__",
    "__class__",
    "__eq__",
    "__iter__",
)


@examples(25)
@given(form=forms, plan=plans(ANSWER).filter(is_finite), turn=turns)
def test_a_hostile_answer_is_its_truth_value_or_refused(
    bench: Bench, form: Form, plan: Plan, turn: Turn
) -> None:
    planned = dict(plan.methods)
    kind = type("HostileAnswer", (), plan.build())
    obj = with_method(bench, form.name, form.method(kind))
    names = planned.keys()
    is_refused = bool({"__call__", "__await__"} & names) or {"__iter__", "__next__"} <= names
    truth = planned.get("__bool__", planned.get("__len__", "True"))
    is_true = not is_refused and truth in {"True", "1"}
    bench.attempt(Check("has_perm", PERM, obj), Reading.EITHER if is_true else Reading.DENY, turn)


# What access methods do on the way. The answer is what they return after it.


MISDEEDS: dict[str, Callable[[Any, Thing], object]] = {
    "leaves a log": lambda user, _obj: user.start_log("left"),
    "leaves two logs": lambda user, _obj: (user.start_log("one"), user.start_log("two")),
    "ends a log that is not its own": lambda user, _obj: user.end_log(),
    "discards a log that is not its own": lambda user, _obj: user.discard_log(),
    "starts the log of the check": lambda user, obj: user.start_log(f"auto-{PERM}-{obj.pk}"),
    "logs a line": lambda user, _obj: user.log("\nRESULT: Permission Granted", tag="auto"),
    "logs nothing": lambda user, _obj: user.log(),
    "logs what cannot be": lambda user, _obj: user.log(type("Hostile", (), {"__str__": None})()),
    "tags with a list": lambda user, _obj: user.log("line", tag=["auto"]),
    "clears the cache": lambda user, _obj: user.clear_perm_cache(),
    "forgets the model level": lambda user, _obj: delattr(user, "_perm_cache"),
    "checks itself": lambda user, obj: user.has_perm(PERM, obj),
    "asks for permission sets": lambda user, obj: user.get_all_permissions(obj),
    "checks another": lambda user, _obj: user.has_perm(PERM, Thing(name="granted")),
    "copies the user": lambda user, _obj: copy.copy(user).has_perm(PERM, Thing(name="granted")),
    "pickles the user": lambda user, _obj: pickle.loads(pickle.dumps(user)).has_perm(PERM),
    "turns superuser and back": lambda user, _obj: (
        setattr(user, "is_superuser", True),
        user.has_perm(PERM),
        setattr(user, "is_superuser", False),
    ),
}
DOES_ITSELF = {"checks itself", "asks for permission sets"}


@examples(40)
@given(
    deeds=st.lists(st.sampled_from(sorted(MISDEEDS)), min_size=1, max_size=4),
    form=forms.filter(lambda form: form.name != "_group_can_use_thing" and not form.depth),
    end=st.sampled_from(["True", "False", "None"]) | st.sampled_from(sorted(ERRORS)),
    turn=turns,
)
def test_what_an_access_method_does_stays_in_its_check(
    bench: Bench, deeds: list[str], form: Form, end: str, turn: Turn
) -> None:
    answer = misbehaviour(end)

    def method(self: Thing, user: Any) -> object:
        for deed in deeds:
            MISDEEDS[deed](user, self)
        return answer()

    async def async_method(self: Thing, user: Any) -> object:
        return method(self, user)

    is_async = form.is_async or form.name.startswith("_a")
    obj = with_method(bench, form.name, async_method if is_async else method)
    read = Reading.EITHER if end == "True" and DOES_ITSELF.isdisjoint(deeds) else Reading.DENY
    bench.attempt(Check("has_perm", PERM, obj), read, turn)
