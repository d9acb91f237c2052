"""Which backends are asked about a user: all of them, whatever the class of the user."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.template import Context, Template
from django.utils.functional import SimpleLazyObject

from djem_async import shortcuts
from djem_async.exceptions import NotADecisionError
from tests.conftest import (
    MODEL_BACKEND,
    OUR_BACKEND,
    PERM,
    Api,
    aallow,
    adeny,
    allow,
    deny,
    permission,
    stored,
)
from tests.testapp.models import PlainUser, Thing, User
from tests.testapp.views import Site


@pytest.fixture(params=[AnonymousUser, PlainUser, User], ids=lambda kind: kind.__name__)
def visitor(request: pytest.FixtureRequest, db: None) -> Any:
    kind = request.param
    return kind() if kind is AnonymousUser else kind.objects.create(pk=1)


@pytest.fixture(params=["get_object_for_user", "ifperm", "view"])
def is_granted(request: Any, api: Api, thing: Thing, settings: Any) -> Callable[[Any], bool]:
    """Return a function that asks about a user, in a way that takes any kind of user."""

    def by_shortcut(user: Any, perm: str = PERM) -> bool:
        try:
            return api(shortcuts).get_object_for_user(user, perm, Thing, pk=thing.pk) == thing
        except PermissionDenied:
            return False

    def by_tag(user: Any, perm: str = PERM) -> bool:
        text = "{% load djem_async %}{% ifperm user perm thing %}yes{% endifperm %}"
        context = Context({"user": user, "perm": perm, "thing": thing})
        return Template(text).render(context) == "yes"

    def by_view(user: Any, perm: str = PERM) -> bool:
        site = Site(settings, mode=api.mode)
        return site.run_of(user, [(perm, "pk")], pk=thing.pk) is not None

    return {"ifperm": by_tag, "view": by_view}.get(request.param, by_shortcut)


@pytest.mark.parametrize("backend", ["SyncOnly", "SyncOnlyObjects", "AsyncOnly"])
def test_a_backend_with_one_form_is_asked(is_granted, visitor, settings, backend):
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND, OUR_BACKEND]
    assert is_granted(visitor) is False
    settings.AUTHENTICATION_BACKENDS += [f"tests.backends.{backend}"]
    assert is_granted(visitor) is True
    assert is_granted(SimpleLazyObject(lambda: visitor)) is True
    assert is_granted(visitor, "testapp.view_thing") is False


def test_users_of_django_are_asked_as_django_asks_them(is_granted, settings, access_methods):
    # Settings that concern users with the mixin alone.
    settings.DJEM_UNIVERSAL_OLP = True
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    user = PlainUser.objects.create(is_superuser=True)
    access_methods(Thing, _user_can_use_thing=lambda self, user: False)
    assert is_granted(user) is True
    user.is_active = False
    assert is_granted(user) is False
    user.is_active, user.is_superuser = True, False
    user.user_permissions.add(permission(PERM))
    assert is_granted(user) is False
    access_methods(Thing, _user_can_use_thing=allow)
    assert is_granted(PlainUser.objects.get(pk=user.pk)) is True


class OwnSay(AnonymousUser):
    def has_perm(self, perm: str, obj: Any = None) -> bool:
        return obj is not None

    async def ahas_perm(self, perm: str, obj: Any = None) -> bool:
        return self.has_perm(perm, obj)


class Asked:
    """A user of another kind, whose answer is given."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def has_perm(self, perm: str, obj: Any = None) -> Any:
        return self.answer()


class AsyncAsked(Asked):
    async def has_perm(self, perm: str, obj: Any = None) -> Any:
        return self.answer()


class MadeUp:
    def __getattr__(self, name: str) -> Any:
        if name not in {"has_perm", "ahas_perm"}:
            raise AttributeError(name)
        return allow if name == "has_perm" else aallow


@pytest.mark.parametrize(
    ("user", "granted"),
    [
        *((OwnSay(), True), (MadeUp(), True)),
        *((kind(allow), True) for kind in (Asked, AsyncAsked)),
        *((kind(answer), False) for kind in (Asked, AsyncAsked) for answer in (deny, lambda: None)),
    ],
)
def test_a_user_with_a_say_of_its_own_is_asked(is_granted, user, granted):
    assert is_granted(user) is is_granted(SimpleLazyObject(lambda: user)) is granted


@pytest.mark.parametrize(
    ("user", "error"),
    [
        *((Asked(wrong), NotADecisionError) for wrong in (lambda: deny, lambda: iter("x"))),
        (Asked(lambda: 1 / 0), ZeroDivisionError),
        *((nobody, (AttributeError, TypeError)) for nobody in ("somebody", 0, object())),
    ],
)
def test_a_user_that_cannot_answer_is_an_error(is_granted, user, error):
    with pytest.raises(error):
        is_granted(user)


@pytest.mark.parametrize(("name", "override"), [("has_perm", deny), ("ahas_perm", adeny)])
def test_an_override_of_one_form_counts_for_both(is_granted, access_methods, name, override):
    user = User(is_superuser=True)
    access_methods(User, **{name: override})
    assert is_granted(user) is is_granted(SimpleLazyObject(lambda: user)) is False


@pytest.mark.parametrize("kind", [User, PlainUser])
def test_get_object_for_user_asks_anew(api, thing, access_methods, kind):
    def get() -> bool:
        try:
            return bool(api(shortcuts).get_object_for_user(user, PERM, Thing, pk=thing.pk))
        except PermissionDenied:
            return False

    def decide(self: Thing, asking: Any) -> bool:
        return self.name == "open" and asking.has_perm("testapp.view_thing", self)

    access_methods(Thing, _user_can_use_thing=decide, _user_can_view_thing=lambda *_: is_shown[0])
    is_shown = [True]
    user = kind.objects.create(**{kind.USERNAME_FIELD: "holder"})
    held = [permission(PERM), permission("testapp.view_thing")]
    user.user_permissions.set(held)
    Thing.objects.update(name="open")
    assert get() is True
    # The row, a check within the access method, and the model level.
    for name, is_shown[0], perms, granted in (
        ("closed", True, held, False),
        ("open", False, held, False),
        ("open", True, held[:1], False),
        ("open", True, held, True),
        ("open", True, held[1:], False),
    ):
        Thing.objects.update(name=name)
        user.user_permissions.set(perms)
        assert get() is granted
        thing.refresh_from_db()
        assert api(user).has_perm(PERM, thing) is granted


class Interrupted:
    """Lets another thread check an old instance of the object meanwhile."""

    meanwhile: list[Callable[[], Any]] = []

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if obj is None and self.meanwhile:
            thread = threading.Thread(target=self.meanwhile.pop())
            thread.start()
            thread.join()
        return obj is None


def test_decisions_of_others_meanwhile_do_not_count(api, user, thing, access_methods, settings):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Interrupted", OUR_BACKEND]
    access_methods(Thing, _user_can_use_thing=lambda self, user: self.name == "open")
    old = stored(thing.pk, "open")
    Interrupted.meanwhile.append(lambda: user.has_perm(PERM, old))
    with pytest.raises(PermissionDenied):
        api(shortcuts).get_object_for_user(user, PERM, Thing, pk=thing.pk)
    assert not Interrupted.meanwhile
    assert api(user).has_perm(PERM, old) is False  # what was found replaces the rest


@pytest.mark.parametrize("verbosity", [0, 1])
def test_the_reason_is_that_of_the_method_and_not_of_a_nested_check(
    api, user, thing, access_methods, settings, verbosity
):
    def decide(self: Thing, asking: Any) -> bool:
        if self.pk == thing.pk:
            asking.has_perm(PERM, other)
            raise PermissionDenied("own reason")
        raise PermissionDenied("secret of another")

    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    other = Thing.objects.create()
    access_methods(Thing, _user_can_use_thing=decide)
    for _ in range(2):
        with pytest.raises(PermissionDenied) as denial:
            api(shortcuts).get_object_for_user(user, PERM, Thing, pk=thing.pk)
        assert denial.value.args == ("own reason",)
