"""Template tags: hostile values in place of their arguments."""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.template import engines
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import hostile
from tests.fuzz.bench import PERM, UNHELD, Bench, Reading, Turn, examples, judged, turns
from tests.fuzz.hostile import ERRORS, VALUES, CaseInsensitive, Lying, Plan, misbehaviour
from tests.testapp.models import Thing

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
            return self.template.render({"user": user, **self.context}) == "yes"
        except BaseException as error:
            return judged(error)

    async def aask(self, user: Any) -> bool | str:
        return await sync_to_async(self.ask)(user)


MISBEHAVIOUR = {kind: lambda _, kind=kind: misbehaviour(kind) for kind in ERRORS}
MISBEHAVIOUR |= {kind: lambda _, make=make: make() for kind, make in VALUES.items()}

USERS: dict[str, Any] = {
    "good": lambda bench: bench.cold_user(),
    "good, lazy": lambda bench: SimpleLazyObject(bench.cold_user),
    "good, a function": lambda bench: bench.cold_user,  # which templates call
    "anonymous": lambda _: AnonymousUser(),
    "lazy None": lambda _: SimpleLazyObject(lambda: None),
    **MISBEHAVIOUR,
}
PERMS: dict[str, Any] = {
    "good": lambda _: PERM,
    "good, safe": lambda _: SafeString(PERM),
    "good, claims to be unheld": lambda _: Lying(PERM, UNHELD),
    "unheld": lambda _: UNHELD,
    "claims to be held": lambda _: Lying(UNHELD, PERM),
    "in any case": lambda _: CaseInsensitive(PERM.upper()),
    **MISBEHAVIOUR,
}
THINGS: dict[str, Any] = {
    "good": lambda bench: bench.granted,
    "good, lazy": lambda bench: SimpleLazyObject(lambda: bench.granted),
    "denied": lambda bench: bench.denied,
    "lazy denied": lambda bench: SimpleLazyObject(lambda: bench.denied),
    "lazy None": lambda _: SimpleLazyObject(lambda: None),
    "a model": lambda _: Thing,  # which templates call
    "a queryset": lambda bench: Thing.objects.filter(pk=bench.granted.pk),
    **MISBEHAVIOUR,
}
TABLES = (USERS, PERMS, THINGS)
drawn = st.tuples(*(st.just("good") | st.sampled_from(sorted(table)) for table in TABLES))


@examples(37)
@given(tag=st.sampled_from(sorted(TAGS)), drawn=drawn, turn=turns)
def test_tag_shows_what_is_granted_and_nothing_else(
    bench: Bench, tag: str, drawn: tuple[str, str, str], turn: Turn
) -> None:
    user, perm, thing = (table[name](bench) for table, name in zip(TABLES, drawn, strict=True))
    page = Page(tag, user=user, perm=perm, thing=thing)
    is_granted = all(name.startswith("good") for name in drawn)
    bench.attempt(page, Reading.GRANT if is_granted else Reading.DENY, turn)


plans = hostile.plans((*hostile.DUNDERS, "resolve", "do_not_call_in_templates", "alters_data"))
places = st.sampled_from(["user", "perm", "thing"])
texts = hostile.near_misses(PERM) | hostile.anything


@examples(25)
@given(tag=st.sampled_from(sorted(TAGS)), value=plans | texts, where=places, turn=turns)
def test_a_hostile_variable_shows_nothing(
    bench: Bench, tag: str, value: Plan | str, where: str, turn: Turn
) -> None:
    given = type("Hostile", (), value.build())() if isinstance(value, Plan) else value
    context = {"user": bench.cold_user(), "perm": PERM, "thing": bench.granted, where: given}
    bench.attempt(Page(tag, **context), Reading.DENY, turn)
