"""Users: hostile ones, lazy ones, and those of every kind that Django's permissions work with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.auth.models import User as StockUser
from django.db import models
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from djem_async.models import OLPMixin
from tests.fuzz.bench import ENTRIES, PERM, Bench, Check, Reading, Turn, examples, turns
from tests.fuzz.hostile import (
    DUNDERS,
    ERRORS,
    VALUES,
    Plan,
    does,
    misbehaviour,
    plans,
    set_class,
    subclass,
)
from tests.testapp.models import OtherThing, PlainUser, Thing, User

if TYPE_CHECKING:
    from collections.abc import Callable

# Hostile users

FLAGS = ("is_active", "is_anonymous", "is_authenticated", "is_superuser")
ATTRIBUTES = (
    *FLAGS,
    "__class__",
    "__dict__",
    "_log_store",
    "_meta",
    "_olp_cache",
    "_perm_cache",
    "_state",
    "_user_perm_cache",
    "end_log",
    "get_username",
    "groups",
    "id",
    "log",
    "pk",
    "start_log",
    "user_permissions",
    "username",
)
# What decisions and permissions that are remembered rest on.
REMEMBERED = {
    *FLAGS,
    "_meta",
    "_perm_cache",
    "_state",
    "_user_perm_cache",
    "groups",
    "id",
    "log",
    "pk",
    "user_permissions",
}
FALSE = {kind for kind, make in VALUES.items() if kind != "NotImplemented" and not make()}


def may_be_granted(plan: Plan, *, holds: bool) -> bool:
    """Tell whether Django itself, by the flags as they are, might grant on a granted thing."""
    planned = dict(plan.methods)
    if planned.get("is_active", "True") in FALSE | ERRORS.keys():
        return False
    # To Django, who has the key of another user is that user.
    holds = holds or not {planned.get("id"), planned.get("pk")}.isdisjoint({"1", "True"})
    is_superuser = planned.get("is_superuser", "False")
    if is_superuser not in FALSE | ERRORS.keys():
        return True  # to Django, whatever is true is a superuser
    return holds and planned.get("is_anonymous", "False") in FALSE


@examples(60)
@given(
    plan=plans((*DUNDERS, *ATTRIBUTES)),
    subject=st.sampled_from(["holder, denied", "holder, granted", "nobody, granted"]),
    entry=st.sampled_from(ENTRIES),
    turn=turns,
)
def test_a_hostile_user_is_granted_no_more_than_its_flags_say(
    bench: Bench, plan: Plan, subject: str, entry: str, turn: Turn
) -> None:
    person, _, thing = subject.partition(", ")
    user = bench.cold_user() if person == "holder" else User.objects.get(pk=bench.nobody.pk)
    grants = may_be_granted(plan, holds=person == "holder")
    if thing == "denied":
        grants = grants and dict(plan.methods).get("is_superuser", "False") not in FALSE
    set_class(user, subclass(User, **plan.build()))
    read = Reading.EITHER if grants else Reading.DENY
    bench.attempt(Check(entry, PERM, getattr(bench, thing)), read, turn, attacker=user)
    set_class(user, User)
    if not REMEMBERED.isdisjoint(dict(plan.methods)):
        user.clear_perm_cache()
    if person == "holder":
        with bench.at(turn):  # nothing else is left on the instance
            bench.controls(user)
            async_to_sync(bench.acontrols)(user)
    else:
        assert not user.has_perm(PERM, bench.granted)


# Users of every kind

with isolate_apps("tests.testapp"):

    class WithoutGroups(AbstractBaseUser):
        """Not even Django's permission methods: only the backend can be asked."""

        name = models.CharField(max_length=20)
        USERNAME_FIELD = "name"
        is_active = True

        class Meta:
            app_label = "testapp"

        def has_perm(self, perm: str, obj: object = None) -> bool:
            return perm == PERM

    class GroupsProperty(OLPMixin, WithoutGroups):
        class Meta:
            app_label = "testapp"
            proxy = True

        has_perm = WithoutGroups.has_perm
        given: Any = None

        @property
        def groups(self) -> object:
            return self.given()


class Duck:
    """Has what the backend asks for, and is nothing."""

    is_active = True
    is_anonymous = False

    def __init__(self, does: str) -> None:
        self.has_perm = misbehaviour(does)


def stock() -> StockUser:
    """Make one of Django's own users, which this project has no table for."""
    user = StockUser(pk=1, username="stock")
    user._perm_cache = user._user_perm_cache = {PERM}
    user._group_perm_cache = set()
    return user


def stored(bench: Bench, **flags: bool) -> User:
    user = bench.cold_user()
    vars(user).update(flags)
    return user


def plain(_bench: Bench) -> PlainUser:
    user = PlainUser(pk=1, name="plain")
    user._perm_cache = user._user_perm_cache = {PERM}
    user._group_perm_cache = set()
    return user


def lazy(user: object) -> Any:
    return SimpleLazyObject(lambda: user)


# The reading is that of a check on a granted thing.
HOLDERS: dict[str, Callable[[Bench], Any]] = {
    "ordinary": stored,
    "superuser": lambda bench: stored(bench, is_superuser=True),
    "plain": plain,
    "stock": lambda _bench: stock(),
    "without groups": lambda _bench: WithoutGroups(pk=1, name="w"),
    "groups property": lambda _bench: GroupsProperty(pk=1, name="g"),
    "lazy": lambda bench: lazy(stored(bench)),
    "lazy in lazy": lambda bench: lazy(lazy(lazy(stored(bench)))),
    "lazy stock": lambda _bench: lazy(stock()),
}
# They have no permission methods for objects, and the next ones no table of groups.
BARE = {"without groups", "groups property"}
WITHOUT_GROUPS = BARE | {"stock", "lazy stock"}
OTHERS: dict[str, Callable[[Bench], Any]] = {
    "inactive": lambda bench: stored(bench, is_active=False),
    "inactive superuser": lambda bench: stored(bench, is_active=False, is_superuser=True),
    "anonymous": lambda _bench: AnonymousUser(),
    "lazy anonymous": lambda _bench: lazy(AnonymousUser()),
    "unsaved": lambda _bench: User(username="unsaved"),
    "inactive stock": lambda _bench: StockUser(is_active=False),
    "unsaved stock": lambda _bench: StockUser(username="unsaved"),
    "lazy None": lambda _bench: lazy(None),
    "lazy error": lambda _bench: SimpleLazyObject(misbehaviour("ValueError")),
    "lazy exit": lambda _bench: SimpleLazyObject(misbehaviour("SystemExit")),
    "the class": lambda _bench: User,
    "a thing": lambda bench: bench.granted,
    "a name": lambda _bench: "user.name",
    "a key": lambda bench: bench.user_pk,
    "None": lambda _bench: None,
    "attributes alone": lambda _bench: SimpleNamespace(is_active=True, is_anonymous=False),
}
DUCKS = sorted([*ERRORS, *VALUES])
# Ducks whose answer at the model level is yes, as far as truth values go.
TRUE = (
    set(VALUES) - FALSE - {"a class", "a generator", "an awaitable", "NotImplemented", "Ellipsis"}
)

things = st.sampled_from(["granted", "denied", "open", "group"])


def by_group(_thing: Thing, _groups: object) -> bool:
    return True


def no(_thing: Thing, _user: object) -> bool:
    return False


def find(bench: Bench, thing: str) -> Any:
    """Return a thing that the name tells about; "group" is for everybody who has groups at all."""
    if thing == "open":
        return OtherThing.from_db("default", ["id", "name"], [bench.denied.pk, "denied"])
    obj = Thing.objects.get(pk=getattr(bench, thing, bench.denied).pk)
    if thing == "group":
        set_class(obj, subclass(Thing, _user_can_use_thing=no, _group_can_use_thing=by_group))
    return obj


def reading(kind: str, thing: str) -> Reading:
    if kind in OTHERS or (kind in DUCKS and kind not in TRUE):
        return Reading.DENY
    if kind == "superuser":
        return Reading.GRANT
    if thing == "denied" or (thing == "group" and kind in {*WITHOUT_GROUPS, *DUCKS}):
        return Reading.DENY
    return Reading.GRANT


@examples(40)
@given(
    kind=st.sampled_from(sorted(HOLDERS))
    | st.sampled_from(sorted(OTHERS))
    | st.sampled_from(DUCKS),
    groups=does,
    thing=things,
    turn=turns,
)
def test_the_backend_answers_every_kind_of_user_by_what_it_may(
    bench: Bench, kind: str, groups: str, thing: str, turn: Turn
) -> None:
    user = Duck(kind) if kind in DUCKS else (HOLDERS | OTHERS)[kind](bench)
    if kind == "groups property":
        user.given = misbehaviour(groups)
    check = Check("backend", PERM, find(bench, thing))
    bench.attempt(check, reading(kind, thing), turn, attacker=user)


DJANGOS = [*(kind for kind in HOLDERS if kind not in BARE), *OTHERS]


@examples(30)
@given(
    kind=st.sampled_from(DJANGOS),
    thing=things,
    entry=st.sampled_from(["has_perm", "has_perms"]),
    turn=turns,
)
def test_every_kind_of_user_answers_for_itself_by_what_it_may(
    bench: Bench, kind: str, thing: str, entry: str, turn: Turn
) -> None:
    user = (HOLDERS | OTHERS)[kind](bench)
    bench.attempt(Check(entry, PERM, find(bench, thing)), reading(kind, thing), turn, attacker=user)
