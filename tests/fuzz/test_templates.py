"""Templates: what the variables of the tags may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.template import engines
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bench import PERM, UNHELD, Bench, Reading, Turn, examples, judged, turns
from tests.fuzz.hostile import (
    DUNDERS,
    ERRORS,
    VALUES,
    CaseInsensitive,
    Lying,
    Plan,
    anything,
    misbehaviour,
    near_misses,
    plans,
)
from tests.testapp.models import Thing, User

if TYPE_CHECKING:
    from collections.abc import Callable

TAGS = {
    "ifperm": "{% ifperm user perm thing %}yes{% else %}no{% endifperm %}",
    "ifnotperm": "{% ifnotperm user perm thing %}no{% else %}yes{% endifnotperm %}",
}


class Page:
    """A template whose tag shows whether something is granted."""

    def __init__(self, tag: str, **context: Any) -> None:
        self.template = engines["django"].from_string("{% load djem_async %}" + TAGS[tag])
        self.context = context

    def ask(self, user: Any) -> bool | str:
        try:
            shown = self.template.render({"user": user, **self.context})
        except BaseException as error:
            return judged(error)
        return {"yes": True, "no": False}[shown]

    async def aask(self, user: Any) -> bool | str:
        return await sync_to_async(self.ask)(user)


tags = st.sampled_from(sorted(TAGS))

USERS: dict[str, Callable[[Bench], Any]] = {
    "own": lambda bench: bench.cold_user(),
    "lazy": lambda bench: SimpleLazyObject(bench.cold_user),
    "anonymous": lambda _bench: AnonymousUser(),
    "nobody": lambda _bench: User(username="nobody"),
    "lazy None": lambda _bench: SimpleLazyObject(lambda: None),
    "a function": lambda bench: bench.cold_user,  # which templates call
    **{kind: lambda _bench, make=make: make() for kind, make in VALUES.items()},
    **{kind: lambda _bench, kind=kind: misbehaviour(kind) for kind in ERRORS},
}
PERMS: dict[str, Callable[[], Any]] = {
    "held": lambda: PERM,
    "safe": lambda: SafeString(PERM),
    "unheld": lambda: UNHELD,
    "claims to be held": lambda: Lying(UNHELD, PERM),
    "claims to be unheld": lambda: Lying(PERM, UNHELD),
    "in any case": lambda: CaseInsensitive(PERM.upper()),
    **VALUES,
}
THINGS: dict[str, Callable[[Bench], Any]] = {
    "granted": lambda bench: bench.granted,
    "denied": lambda bench: bench.denied,
    "lazy granted": lambda bench: SimpleLazyObject(lambda: bench.granted),
    "lazy denied": lambda bench: SimpleLazyObject(lambda: bench.denied),
    "lazy None": lambda _bench: SimpleLazyObject(lambda: None),
    "a model": lambda _bench: Thing,  # which templates call
    "a queryset": lambda bench: Thing.objects.filter(pk=bench.granted.pk),
    **{kind: lambda _bench, make=make: make() for kind, make in VALUES.items() if kind != "None"},
    **{kind: lambda _bench, kind=kind: misbehaviour(kind) for kind in ERRORS},
}
GRANTED = (
    {"own", "lazy", "a function"},
    {"held", "safe", "claims to be unheld"},
    {"granted", "lazy granted"},
)


def mostly(good: str, others: dict[str, Any]) -> st.SearchStrategy[str]:
    return st.just(good) | st.sampled_from(sorted(others))


@examples(50)
@given(
    tag=tags,
    user=mostly("own", USERS),
    perm=mostly("held", PERMS),
    thing=mostly("granted", THINGS),
    missing=st.sampled_from([None, None, None, "user", "perm", "thing"]),
    turn=turns,
)
def test_a_tag_shows_what_is_granted_and_nothing_else(
    bench: Bench, tag: str, user: str, perm: str, thing: str, missing: str | None, turn: Turn
) -> None:
    context = {"user": USERS[user](bench), "perm": PERMS[perm](), "thing": THINGS[thing](bench)}
    drawn = (user, perm, thing)
    is_granted = all(each in good for each, good in zip(drawn, GRANTED, strict=True))
    page = Page(tag, **{name: value for name, value in context.items() if name != missing})
    if missing == "user":
        page.context["user"] = None
    read = Reading.GRANT if is_granted and missing is None else Reading.DENY
    bench.attempt(page, read, turn)


@examples(25)
@given(
    tag=tags,
    plan=plans((*DUNDERS, "resolve", "do_not_call_in_templates", "alters_data")),
    where=st.sampled_from(["user", "perm", "thing"]),
    turn=turns,
)
def test_a_hostile_variable_shows_nothing(
    bench: Bench, tag: str, plan: Plan, where: str, turn: Turn
) -> None:
    context = {"user": bench.cold_user(), "perm": PERM, "thing": bench.granted}
    page = Page(tag, **context | {where: type("Hostile", (), plan.build())()})
    # Django calls what can be called, and None in place of the object is the model level.
    is_none = where == "thing" and dict(plan.methods).get("__call__") == "None"
    bench.attempt(page, Reading.EITHER if is_none else Reading.DENY, turn)


@examples(25)
@given(
    tag=tags,
    text=near_misses(PERM) | anything,
    thing=st.sampled_from(["granted", None]),
    turn=turns,
)
def test_a_tag_denies_a_name_that_is_not_held(
    bench: Bench, tag: str, text: str, thing: str | None, turn: Turn
) -> None:
    page = Page(tag, perm=text, thing=thing and getattr(bench, thing))
    bench.attempt(page, Reading.DENY, turn)
