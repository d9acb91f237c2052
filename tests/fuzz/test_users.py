"""Users: hostile ones, lazy ones, and values that aren't users."""

from asgiref.sync import async_to_sync
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import hostile
from tests.fuzz.bench import ENTRIES, PERM, Bench, Check, Reading, Turn, examples, turns
from tests.testapp.models import User

# Hostile users

NAMES = (*hostile.DUNDERS, *hostile.OF_OBJECTS, *hostile.OF_USERS, "get_username")
FALSE = {kind for kind, make in hostile.VALUES.items() if kind != "NotImplemented" and not make()}


def may_be_granted(plan: hostile.Plan, *, holds: bool) -> bool:
    """Tell whether Django itself, by the flags as they are, might grant on a granted thing."""
    planned = dict(plan.methods)
    if planned.get("is_active", "True") in FALSE | hostile.ERRORS.keys():
        return False
    # To Django, who has the key of another user is that user.
    holds = holds or not {planned.get("id"), planned.get("pk")}.isdisjoint({"1", "True"})
    is_superuser = planned.get("is_superuser", "False")
    if is_superuser not in FALSE | hostile.ERRORS.keys():
        return True  # to Django, whatever is true is a superuser
    return holds and planned.get("is_anonymous", "False") in FALSE


@examples(30)
@given(
    plan=hostile.plans(NAMES),
    subject=st.sampled_from(["holder, denied", "holder, granted", "nobody, granted"]),
    entry=st.sampled_from(ENTRIES),
    turn=turns,
)
def test_a_hostile_user_is_granted_no_more_than_its_flags_say(
    bench: Bench, plan: hostile.Plan, subject: str, entry: str, turn: Turn
) -> None:
    person, _, thing = subject.partition(", ")
    user = bench.cold_user() if person == "holder" else User.objects.get(pk=bench.nobody.pk)
    grants = may_be_granted(plan, holds=person == "holder")
    if thing == "denied":
        grants = grants and dict(plan.methods).get("is_superuser", "False") not in FALSE
    hostile.set_class(user, hostile.subclass(User, **plan.build()))
    read = Reading.EITHER if grants else Reading.DENY
    bench.attempt(Check(entry, PERM, getattr(bench, thing)), read, turn, attacker=user)
    hostile.set_class(user, User)
    user.clear_perm_cache()
    if person == "holder":
        with bench.at(turn):  # nothing else is left on the instance
            bench.controls(user)
            async_to_sync(bench.acontrols)(user)
    else:
        assert not user.has_perm(PERM, bench.granted)


# Users of every kind
