"""Explanations: the same decision as the check's, and the step of the rules that made it."""

import asyncio
import dataclasses
import itertools
import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.backends import BaseBackend
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from django.views.generic import DetailView, View

from djem_async.access import without_model_level
from djem_async.auth import (
    ObjectPermissionRequiredMixin,
    PermissionRequiredMixin,
    permission_required,
)
from djem_async.explain import Explanation, Reason
from djem_async.shortcuts import aget_object_for_user, get_object_for_user

from .conftest import MODEL_BACKEND, OUR_BACKEND, PERM, adeny, allow, deny, grant
from .testapp.models import OtherThing, PlainUser, Thing, User

NAME = "tests.testapp.models.Thing._user_can_use_thing"


def raise_denial(*_: Any) -> bool:
    raise PermissionDenied("why")


# What decides, by the rules as they are written


class World:
    """Who the user is, how the library is set, and what methods there are."""

    def __init__(self, *values: Any) -> None:
        self.held, self.active, self.superuser, self.universal, self.is_open = values[:5]
        self.user, self.group = values[5:]

    def right(self) -> tuple[bool, str]:
        is_superuser = self.active and self.superuser
        if is_superuser and not self.universal:
            return True, "superuser"
        if not self.active:
            return False, "inactive"
        is_held = self.held or is_superuser
        methods = {"user_method": self.user, "group_method": self.group}
        asked = {
            name: method
            for name, method in methods.items()
            if method and (is_held or method in MARKED)
        }
        if not is_held and not asked:
            return False, "model_level"
        for name, method in asked.items():
            reason = name
            if method in GRANTING:
                return True, reason
        return (False, reason) if asked else (self.is_open, "no_method")


marked_allow, marked_deny = without_model_level(allow), without_model_level(deny)
MARKED, GRANTING = {marked_allow, marked_deny}, {allow, marked_allow}
METHODS = (None, allow, deny, raise_denial, marked_allow, marked_deny)


@pytest.mark.parametrize("by_user", METHODS)
def test_explanations_are_those_of_the_rules(api, settings, monkeypatch, db, by_user):
    holder = grant(User.objects.create_user("holder"), PERM)
    without, thing = User.objects.create_user("without"), Thing.objects.create()
    flags = [(False, True)] * 5
    worlds = itertools.product(*flags, METHODS)
    for values in itertools.islice(worlds, METHODS.index(by_user) % 5, None, 5):
        world = World(*values[:5], by_user, values[5])
        settings.DJEM_UNIVERSAL_OLP, settings.DJEM_OPEN_BY_DEFAULT = values[3:5]
        user = User.objects.get(pk=(holder if world.held else without).pk)
        user.is_active, user.is_superuser = world.active, world.superuser
        right = world.right()
        with monkeypatch.context() as patch:
            for source in ("user", "group"):
                if (method := getattr(world, source)) is not None:
                    patch.setattr(Thing, f"_{source}_can_use_thing", method, raising=False)
            for cached in (False, True):
                found = api(user).explain_perm(PERM, thing)
                assert (found.granted, found.reason) == right, values
                is_by_method = right[1] in {"user_method", "group_method"}
                assert found.messages == (found.lines if is_by_method else ())
                assert found.cached is (cached and is_by_method)
                settings.DJEM_PERM_LOG_VERBOSITY = 1
                assert api(user).has_perm(PERM, thing) is found.granted
                settings.DJEM_PERM_LOG_VERBOSITY = 0
                assert user.get_last_log() == log_of(found, world), values


def log_of(found: Explanation, world: World) -> str:
    """Write the log of a check from its explanation."""
    is_superuser = world.active and world.superuser
    is_asked = found.reason in {"user_method", "group_method"}
    lines = []
    if found.reason == "superuser":
        lines.append("Active superuser: Implicit permission")
    elif is_superuser:
        lines.append("Active superuser: Implicit permission (model-level)")
    if found.reason != "superuser":
        is_held = found.reason == "no_method" or (is_asked and (world.held or is_superuser))
        denied = "Denied (not required)" if is_asked else "Denied"
        lines.append(f"Model-level Result: {'Granted' if is_held else denied}\n")
    lines += found.lines if is_asked else ()
    lines.append(f"\nRESULT: Permission {'Granted' if found.granted else 'Denied'}")
    return "\n".join(lines)


# What an explanation holds


def test_it_names_what_decided_and_why(api, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=raise_denial, _group_can_use_thing=adeny)
    for cached in (False, True):
        assert api(user).explain_perm(PERM, SimpleLazyObject(lambda: thing)) == Explanation(
            granted=False,
            perm=PERM,
            user=user.pk,
            object=thing.pk,
            model="testapp.Thing",
            reason=Reason.GROUP_METHOD,
            decided_by="tests.testapp.models.Thing._group_can_use_thing",
            lines=("why",),
            cached=cached,
        )


def test_a_denial_at_the_model_level_says_what_is_missing(api, user, thing):
    for on in ((), (thing,)):
        found = api(user).explain_perm("testapp.change_thing", *on)
        assert (found.granted, found.reason) == (False, "model_level")
        assert found.lines == (
            "The user does not have testapp.change_thing at the model level.",
            f"Asked: {MODEL_BACKEND}, {OUR_BACKEND}",
        )
    granted = api(user).explain_perm(PERM)
    assert (granted.reason, granted.decided_by) == ("model_level", MODEL_BACKEND)
    assert (granted.object, granted.model, granted.lines) == (None, None, ())


def test_without_an_access_method_it_says_why_it_is_closed(api, user, thing, settings):
    assert api(user).explain_perm(PERM, thing).lines == ()
    settings.DJEM_OPEN_BY_DEFAULT = False
    (line,) = api(user).explain_perm(PERM, thing).lines
    assert line.endswith(f"no access method for {PERM}, and DJEM_OPEN_BY_DEFAULT is False.")
    settings.DJEM_OPEN_BY_DEFAULT = True
    (line,) = api(user).explain_perm(PERM, OtherThing.objects.create()).lines
    assert line.endswith("and it belongs to other models.")
    found = api(user).explain_perm(PERM, object())
    assert (found.granted, found.reason, found.model) == (False, "no_method", None)


class Decides(BaseBackend):
    answer: Any = True

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        return bool(self.answer)

    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return self.has_perm(user_obj, perm, obj)


@pytest.mark.parametrize(
    ("answer", "granted", "reason"),
    [(True, True, "other_backend"), (PermissionDenied(), False, "veto")],
)
def test_other_backends_are_named(
    api, user, thing, access_methods, settings, monkeypatch, answer, granted, reason
):
    path = f"{__name__}.Decides"
    access_methods(Thing, _user_can_use_thing=deny)
    monkeypatch.setattr(Decides, "answer", answer)
    for settings.AUTHENTICATION_BACKENDS in ([OUR_BACKEND, path], [path, OUR_BACKEND]):
        for on in ((), (thing,)):
            found = api(user).explain_perm(PERM, *on)
            assert (found.granted, found.reason, found.decided_by) == (granted, reason, path)


def test_a_user_with_a_say_of_its_own_is_named(api, user, thing, access_methods):
    access_methods(User, has_perm=lambda self, perm, *on: False)
    found = api(user).explain_perm(PERM, thing)
    assert (found.granted, found.reason) == (False, "other_backend")
    assert found.decided_by == "tests.testapp.models.User"
    access_methods(User, has_perm=lambda self, *args: super(User, self).has_perm(*args))
    assert api(user).explain_perm(PERM, thing).reason == "no_method"


@pytest.mark.parametrize(
    "ask",
    [
        lambda user, orig, other: orig(user, PERM, other),
        lambda user, orig, other: orig(user, PERM),
        lambda user, orig, other: orig(User.objects.get(username="boss"), PERM, other),
    ],
)
def test_a_check_of_something_else_does_not_explain(api, user, thing, access_methods, ask):
    boss = grant(User.objects.create_user("boss"), PERM)
    other, orig = Thing.objects.create(), User.has_perm

    def has_perm(self: User, perm: str, *on: Any) -> bool:
        return ask(self, orig, other) if on else orig(self, perm)

    access_methods(User, has_perm=has_perm)
    found = api(user).explain_perm(PERM, thing)
    assert (found.granted, found.reason) == (True, "other_backend")
    assert (found.user, found.object) == (user.pk, thing.pk)
    assert [each.user in {user.pk, boss.pk} for each in found.nested] == [True]


def test_a_reason_that_a_nested_check_also_gives_is_kept(api, user, thing, access_methods):
    def decide(self: Thing, asking: User) -> bool:
        if self.pk == thing.pk:
            asking.has_perm(PERM, other)
        raise PermissionDenied("Closed.")

    other = Thing.objects.create()
    access_methods(Thing, _user_can_use_thing=decide)
    found = api(user).explain_perm(PERM, thing)
    assert (found.lines, found.nested[0].lines) == (("Closed.",), ("Closed.",))


def test_messages_leave_out_the_lines_of_nested_checks(api, user, thing, access_methods):
    def decide(self: Thing, asking: User) -> bool:
        if self.pk == thing.pk:
            asking.has_perm(PERM, other)
        asking.log(f"Closed: {self.pk}")
        return False

    other = Thing.objects.create()
    access_methods(Thing, _user_can_use_thing=decide)
    assert not api(user).has_perm(PERM, thing)
    found = api(user).explain_perm(PERM, thing)
    own = f"Closed: {thing.pk}"
    assert (found.cached, found.messages) == (True, (own,))
    assert found.lines == (f"Closed: {other.pk}", own)


def test_an_explicit_none_inside_an_access_method_is_denied(api, user, thing, access_methods):
    def decide(self: Thing, asking: User) -> bool:
        return asking.explain_perm(PERM, None).granted

    access_methods(Thing, _user_can_use_thing=decide)
    assert api(user).has_perm(PERM, thing) is False


def test_nested_checks_are_children(api, user, thing, access_methods, settings):
    async def decide(self: Thing, asking: User) -> bool:
        if self.pk == thing.pk:
            return any(await asyncio.gather(*(asking.ahas_perm(PERM, each) for each in others)))
        return self.name == "open"

    settings.DJEM_PERM_LOG_VERBOSITY = 1
    others = [Thing.objects.create(), Thing.objects.create(name="open")]
    access_methods(Thing, _user_can_use_thing=decide)
    found = api(user).explain_perm(PERM, thing)
    assert [(each.object, each.granted) for each in found.nested] == [
        (others[0].pk, False),
        (others[1].pk, True),
    ]
    assert [each.nested for each in found.nested] == [(), ()]
    assert api(user).explain_perm(PERM, thing).nested == ()


@pytest.mark.parametrize("verbosity", [0, 2])
def test_it_leaves_no_logs(api, user, thing, access_methods, settings, verbosity):
    def decide(self: Thing, asking: User) -> bool:
        asking.log("a line")
        if self.pk == thing.pk:
            granted = asking.has_perm(PERM, other)
            if verbosity:
                assert asking.get_last_log(raw=True)[-1] == "\nRESULT: Permission Denied"
            return granted
        return False

    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    other = Thing.objects.create()
    access_methods(Thing, _user_can_use_thing=decide)
    user.start_log("mine")
    assert api(user).explain_perm(PERM, thing).lines == ("a line",)
    assert user.end_log() == ("mine", [])
    assert user.get_last_log() == ""
    for name in (f"auto-{PERM}", f"auto-{PERM}-{other.pk}"):
        with pytest.raises(KeyError):
            user.get_log(name)


def test_logs_of_tasks_that_outlive_it_are_kept(user, thing, access_methods, settings):
    tasks = []

    async def later() -> bool:
        await asyncio.sleep(0)
        return await user.ahas_perm(PERM)

    async def decide(self: Thing, asking: User) -> bool:
        tasks.append(asyncio.ensure_future(later()))
        return False

    async def explain() -> None:
        await user.aexplain_perm(PERM, thing)
        await asyncio.gather(*tasks)

    settings.DJEM_PERM_LOG_VERBOSITY = 1
    access_methods(Thing, _user_can_use_thing=decide)
    async_to_sync(explain)()
    assert user.get_log(f"auto-{PERM}") == "\nRESULT: Permission Granted"


def test_an_exception_is_an_error_and_cancellation_goes_on(api, user, thing, access_methods):
    def fail(self: Thing, asking: User) -> bool:
        raise ValueError("secret")

    async def wait(self: Thing, asking: User) -> bool:
        raise asyncio.CancelledError

    access_methods(Thing, _user_can_use_thing=fail)
    found = api(user).explain_perm(PERM, thing)
    assert (found.granted, found.reason, found.error) == (False, "error", "ValueError")
    assert found.decided_by == NAME
    found = api(user).explain_perm(5)
    assert (found.error, found.decided_by) == ("TypeError", None)
    access_methods(Thing, _user_can_use_thing=wait)
    with pytest.raises(asyncio.CancelledError):
        api(user.__class__.objects.get()).explain_perm(PERM, thing)


def test_it_has_no_truth_value_and_does_not_change(user):
    found = user.explain_perm(PERM)
    with pytest.raises(TypeError, match="`granted`"):
        bool(found)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.granted = False
    with pytest.raises(TypeError, match="was not awaited"):
        bool(user.aexplain_perm(PERM))


def test_it_can_be_written_as_a_tree_and_as_json(user):
    inner = user.explain_perm("testapp.change_thing")
    nested = dataclasses.replace(inner, object=b"key", model="testapp.Thing", cached=True)
    found = dataclasses.replace(inner, nested=(nested, inner), lines=("one\ntwo",), error="E")
    assert json.loads(json.dumps(found.as_dict()))["nested"][0]["object"] == "b'key'"
    assert str(found).replace(f"user {user.pk}", "user 1").splitlines()[:6] == [
        "testapp.change_thing, user 1: denied",
        "    model_level",
        "    | one",
        "    | two",
        "    raised E",
        "    ├── testapp.change_thing on testapp.Thing b'key', user 1: denied",
    ]
    assert "model_level (cached)" in str(found)


# Where a view refuses


@pytest.mark.parametrize("kind", [User, PlainUser])
def test_what_a_view_raises_carries_the_explanation(api, thing, access_methods, kind):
    user = kind.objects.create(**{kind.USERNAME_FIELD: "visitor"})
    access_methods(Thing, _user_can_use_thing=without_model_level(raise_denial))

    async def aview(request: Any, pk: Any) -> HttpResponse: ...

    def view(request: Any, pk: Any) -> HttpResponse: ...

    def refusal(perm: Any) -> Any:
        protected = permission_required(perm, raise_exception=True)(
            aview if api.mode == "async" else view
        )
        request: Any = RequestFactory().get("/")
        request.user = user
        call = async_to_sync(protected) if api.mode == "async" else protected
        with pytest.raises(PermissionDenied) as denial:
            call(request, pk=thing.pk)
        return denial.value

    denial = refusal((PERM, "pk"))
    assert denial.args == ("why",)
    assert (denial.explanation.reason, denial.explanation.decided_by) == ("user_method", NAME)
    assert denial.explanation.object == thing.pk
    assert refusal(("testapp.change_thing", "pk")).explanation.reason == "model_level"
    (line,) = refusal("testapp.chnage_thing.x").explanation.lines[:1]
    assert "testapp.chnage_thing.x" in line
    assert "is not a permission" in refusal(("nowhere.x", "pk")).explanation.lines[0]

    handler = {"get": aview if api.mode == "async" else view}

    class Checked(PermissionRequiredMixin, View):
        permission_required, raise_exception = [(PERM, "pk")], True

    class Detail(ObjectPermissionRequiredMixin, DetailView):
        model, permission_required, raise_exception = Thing, PERM, True

    for checked in (type("Checked", (Checked,), handler), type("Detail", (Detail,), handler)):
        request = RequestFactory().get("/")
        request.user = user
        call = async_to_sync(checked.as_view()) if api.mode == "async" else checked.as_view()
        with pytest.raises(PermissionDenied, match="why") as caught:
            call(request, pk=thing.pk)
        assert caught.value.explanation.decided_by == NAME
    get = get_object_for_user if api.mode == "sync" else async_to_sync(aget_object_for_user)
    with pytest.raises(PermissionDenied) as caught:
        get(user, PERM, Thing, pk=thing.pk)
    assert caught.value.explanation.decided_by == NAME
