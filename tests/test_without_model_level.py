"""Access methods whose grant suffices, whatever the model level says."""

import itertools
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Q

from djem_async.access import nonblocking, without_model_level
from djem_async.auth import ObjectPermissionsBackend
from djem_async.shortcuts import get_objects_for_user
from tests.backends import Abstains
from tests.conftest import MODEL_BACKEND, OUR_BACKEND, PERM, allow, deny, grant, permission
from tests.testapp.models import PlainUser, SpecialThing, Thing, User

marked = without_model_level
for_everybody = without_model_level(anonymous=True)


@pytest.fixture(params=[0, 2])
def verbosity(request, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = request.param


@pytest.fixture
def author(db: None) -> User:
    """A user without permissions, who owns a thing."""
    user = User.objects.create_user("author")
    Thing.objects.create(name="own", owner=user)
    Thing.objects.create(name="other")
    return User.objects.get(pk=user.pk)


def own(self: Any, user: Any) -> bool:
    return user.pk is not None and self.owner_id == user.pk


async def aown(self: Any, user: Any) -> bool:
    return own(self, user)


def own_rows(cls: Any, user: Any) -> Q:
    return Q(owner=user.pk)


MARKED = {
    "def": {"_user_can_use_thing": marked(own)},
    "nonblocking": {"_user_can_use_thing": nonblocking(marked(own))},
    "async def": {"_user_can_use_thing": marked(aown)},
    "twin": {"_auser_can_use_thing": marked(aown)},
    "query": {"_quser_can_use_thing": classmethod(marked(own_rows))},
    "query, other order": {"_quser_can_use_thing": without_model_level(classmethod(own_rows))},
}


@pytest.fixture(params=MARKED.values(), ids=MARKED)
def only_marked(request: pytest.FixtureRequest, access_methods: Callable[..., None]) -> None:
    access_methods(Thing, **request.param)


@pytest.mark.usefixtures("only_marked", "verbosity")
def test_a_grant_of_a_marked_method_suffices(api, author):
    for _ in range(2):
        for thing in Thing.objects.all():
            assert api(author).has_perm(PERM, thing) is (thing.name == "own")
            assert api(author).has_perm("testapp.change_thing", thing) is False
    assert api(author).has_perm(PERM) is False


@pytest.mark.parametrize("mark", [lambda form: form, marked, for_everybody])
def test_all_ways_to_ask_agree(api, author, access_methods, mark):
    access_methods(
        Thing,
        _quser_can_use_thing=classmethod(mark(lambda cls, user: Q(name="own"))),
        _qgroup_can_use_thing=classmethod(lambda cls, groups: True),
    )
    own, other = (Thing.objects.get(name=name) for name in ("own", "other"))
    inactive = User(pk=author.pk, is_active=False)
    is_marked, is_public = mark in (marked, for_everybody), mark is for_everybody
    for user, granted in ((author, is_marked), (AnonymousUser(), is_public), (inactive, False)):
        backend = api(ObjectPermissionsBackend())
        assert [backend.has_perm(user, PERM, thing) for thing in (own, other)] == [granted, False]
        for name in ("get_user_permissions", "get_all_permissions"):
            assert getattr(backend, name)(user, own) == ({PERM} if granted else set())
            assert getattr(backend, name)(user, other) == set()
        assert backend.get_group_permissions(user, own) == set()
        assert list(get_objects_for_user(user, PERM, Thing)) == [own] * granted
    api(author).clear_perm_cache()
    api(author).prefetch_perms([PERM], [own, other])
    assert [api(author).has_perm(PERM, thing) for thing in (own, other)] == [is_marked, False]
    found = User.objects.with_perm(PERM, backend=OUR_BACKEND, obj=own)
    assert list(found) == [author] * is_marked
    assert not User.objects.with_perm(PERM, backend=OUR_BACKEND, obj=other).exists()
    inactive.save(update_fields=["is_active"])
    assert not User.objects.with_perm(PERM, backend=OUR_BACKEND, obj=own).exists()
    author.save(update_fields=["is_active"])
    assert len(get_objects_for_user(grant(author, PERM), PERM, Thing)) == 2


def test_methods_without_the_mark_are_asked_only_with_the_model_level(api, author, access_methods):
    access_methods(Thing, _user_can_use_thing=own, _group_can_use_thing=marked(deny))
    thing = Thing.objects.get(name="own")
    assert api(author).has_perm(PERM, thing) is False
    # What the marked method has decided alone is not the decision of both.
    author.user_permissions.add(permission(PERM))
    del author._user_perm_cache
    assert api(author).has_perm(PERM, thing) is True


@pytest.mark.parametrize(("other", "granted"), [("VetoesModelLevel", False), ("Abstains", True)])
@pytest.mark.parametrize("kind", [User, PlainUser, AnonymousUser])
@pytest.mark.usefixtures("db")
def test_a_veto_denies(api, access_methods, settings, other, granted, kind):
    access_methods(Thing, _user_can_use_thing=for_everybody(allow))
    user = kind() if kind is AnonymousUser else kind.objects.create(pk=7)
    thing = Thing.objects.create()
    paths = [OUR_BACKEND, f"tests.backends.{other}", MODEL_BACKEND]
    for settings.AUTHENTICATION_BACKENDS in itertools.permutations(paths):
        assert api(ObjectPermissionsBackend()).has_perm(user, PERM, thing) is granted


@pytest.mark.parametrize(
    ("answer", "backends", "granted"),
    [
        (False, (), True),
        (PermissionDenied(), (), False),
        (False, ["Abstains"], True),
        (False, ["VetoesModelLevel"], False),
    ],
)
def test_a_user_with_a_say_of_its_own_may_veto(
    api, access_methods, settings, author, answer, backends, granted
):
    others = [f"tests.backends.{backend}" for backend in backends]
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND, OUR_BACKEND, *others]

    def has_perm(self: User, perm: str, *args: Any) -> bool:
        if args:
            return super(User, self).has_perm(perm, *args)
        if isinstance(answer, Exception):
            raise answer
        return answer

    form = marked(classmethod(lambda cls, user: True))
    access_methods(User, has_perm=has_perm)
    access_methods(Thing, _quser_can_use_thing=form)
    thing = Thing.objects.first()
    assert api(author).has_perm(PERM, thing) is granted
    # Where the user isn't asked about the object, any denial of its own counts.
    assert api(ObjectPermissionsBackend()).has_perm(author, PERM, thing) is False
    assert api(author).get_all_permissions(thing) == set()
    if not backends:
        with pytest.raises(ImproperlyConfigured, match="has_perm is overridden"):
            get_objects_for_user(author, PERM, Thing)


def test_users_who_deny_all_are_not_found(access_methods, author):
    access_methods(User, has_perm=lambda self, perm, *args: False)
    access_methods(Thing, _user_can_use_thing=marked(allow))
    User.objects.create_superuser("super")
    thing = Thing.objects.first()
    assert not User.objects.with_perm(PERM, backend=OUR_BACKEND, obj=thing).exists()


@pytest.mark.parametrize("held", [False, True])
def test_visitors_reach_only_methods_that_are_marked_for_them(
    api, author, access_methods, settings, held
):
    if held:
        settings.AUTHENTICATION_BACKENDS = ["tests.backends.GrantsModelLevel", OUR_BACKEND]
    backend, thing = api(ObjectPermissionsBackend()), Thing.objects.get(name="own")

    def public(self: Any, user: Any) -> bool:
        assert isinstance(user, AnonymousUser)
        return True

    for mark in (lambda method: method, marked):
        access_methods(Thing, _user_can_use_thing=mark(public))
        assert backend.has_perm(AnonymousUser(), PERM, thing) is False
    access_methods(Thing, _user_can_use_thing=for_everybody(public))
    assert backend.has_perm(AnonymousUser(), PERM, thing) is True
    assert backend.get_all_permissions(AnonymousUser(), thing) == {PERM}
    access_methods(
        Thing,
        _user_can_use_thing=deny,
        _group_can_use_thing=for_everybody(lambda self, groups: not list(groups)),
    )
    assert backend.has_perm(AnonymousUser(), PERM, thing) is True
    assert backend.get_user_permissions(AnonymousUser(), thing) == set()
    assert backend.has_perm(AnonymousUser(), "testapp.view_thing", thing) is False


def test_the_log_tells_that_the_model_level_is_not_required(api, author, access_methods, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    access_methods(Thing, _user_can_use_thing=marked(own))
    for thing in Thing.objects.all():
        result = "Granted" if api(author).has_perm(PERM, thing) else "Denied"
        assert author.get_last_log(raw=True) == [
            "Model-level Result: Denied (not required)\n",
            f"\nRESULT: Permission {result}",
        ]
    author.is_active = False
    api(author).has_perm(PERM, thing)
    assert author.get_last_log(raw=True)[0] == "Model-level Result: Denied\n"


def test_forms_that_are_marked_differently_are_an_error(api, author, access_methods):
    access_methods(
        Thing, _user_can_use_thing=marked(own), _quser_can_use_thing=classmethod(own_rows)
    )
    for user in (author, grant(User.objects.create_user("holder"), PERM)):
        with pytest.raises(ImproperlyConfigured, match="aren't all marked"):
            api(user).has_perm(PERM, Thing())
        with pytest.raises(ImproperlyConfigured, match="aren't all marked"):
            get_objects_for_user(user, PERM, Thing)


def test_the_nearest_class_decides_on_the_mark(api, author, access_methods):
    access_methods(Thing, _user_can_use_thing=marked(allow))
    thing = SpecialThing.objects.create()
    assert api(author).has_perm(PERM, thing) is True
    access_methods(SpecialThing, _auser_can_use_thing=aown)
    api(author).clear_perm_cache()
    assert api(author).has_perm(PERM, thing) is False


def test_what_an_instance_has_in_place_of_a_method_is_not_marked(api, author, access_methods):
    access_methods(Thing, _user_can_use_thing=marked(allow))
    thing = Thing.objects.get(name="other")
    thing._user_can_use_thing = without_model_level(lambda user: True)
    assert api(author).has_perm(PERM, thing) is False
    access_methods(Thing, _user_can_use_thing=property(lambda self: marked(allow)))
    api(author).clear_perm_cache()
    assert api(author).has_perm(PERM, Thing()) is False


def test_a_prefetch_of_several_models_keeps_to_the_marks_of_each(api, author, access_methods):
    access_methods(
        Thing,
        _quser_can_use_thing=classmethod(marked(own_rows)),
        _qgroup_can_use_thing=classmethod(lambda cls, groups: True),
    )
    access_methods(SpecialThing, _user_can_use_thing=allow)
    things = [*Thing.objects.all(), SpecialThing.objects.create()]
    api(author).prefetch_perms([PERM], things)
    assert [api(author).has_perm(PERM, thing) for thing in things] == [True, False, False]
    for holder in (grant(author, PERM), author):
        api(holder).prefetch_perms([PERM], things)
    assert [api(grant(author, PERM)).has_perm(PERM, thing) for thing in things] == [True] * 3


class VetoesOnce(Abstains):
    asked = 0

    def say(self, user: Any, perm: str, obj: Any) -> bool:
        if obj is None:
            VetoesOnce.asked += 1
            if VetoesOnce.asked == 1:
                raise PermissionDenied
        return False


@pytest.mark.parametrize("kind", [User, PlainUser])
def test_a_veto_counts_that_is_not_repeated(api, access_methods, settings, kind, thing):
    access_methods(Thing, _user_can_use_thing=marked(allow))
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND, f"{__name__}.VetoesOnce", OUR_BACKEND]
    user, backend = kind.objects.create(pk=7), api(ObjectPermissionsBackend())
    VetoesOnce.asked = 0
    assert [backend.has_perm(user, PERM, thing) for _ in range(2)] == [False, True]
    assert VetoesOnce.asked == 2


@pytest.mark.parametrize("perm", ["tstapp.use_thing", "auth.use_thing", "use_thing"])
def test_a_marked_method_grants_no_permission_that_its_model_does_not_own(
    api, author, access_methods, perm
):
    access_methods(Thing, _user_can_use_thing=marked(allow))
    assert api(author).has_perm(perm, Thing()) is False
    assert api(ObjectPermissionsBackend()).has_perm(author, perm, Thing()) is False


@pytest.mark.parametrize("wrong", ["anonymous", True, None])
def test_only_a_method_can_be_marked(wrong):
    with pytest.raises(TypeError, match=r"anonymous=True"):
        without_model_level()(wrong)
    if wrong:
        with pytest.raises(TypeError, match=r"anonymous=True"):
            without_model_level(wrong)


def test_a_mark_is_on_the_method_that_it_is_written_for(api, author, access_methods):
    access_methods(
        Thing,
        _user_can_change_thing=allow,
        _user_can_view_thing=for_everybody(allow),
        _quser_can_use_thing=(form := classmethod(lambda cls, user: True)),
        _quser_can_add_thing=marked(form),
    )
    thing = Thing.objects.first()
    backend = api(ObjectPermissionsBackend())
    assert backend.get_all_permissions(author, thing) == {"testapp.view_thing", "testapp.add_thing"}
    assert backend.get_all_permissions(AnonymousUser(), thing) == {"testapp.view_thing"}


def test_a_marked_copy_is_the_same_function():
    def method(self: Any, user: Any, *, strict: bool = True) -> bool:
        """Decide."""
        return strict

    copy = marked(nonblocking(method))
    assert copy is not method
    assert (copy.__doc__, copy.__qualname__) == (method.__doc__, method.__qualname__)
    assert copy(None, None) is True
    assert marked(staticmethod(method)).__func__ is not method
    assert marked(Mock())() is not None


def test_a_mocked_method_is_not_marked(api, author, access_methods):
    access_methods(Thing, _user_can_use_thing=Mock(return_value=True))
    assert api(author).has_perm(PERM, Thing()) is False
