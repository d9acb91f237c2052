"""``{% ifperm %}`` and ``{% ifnotperm %}``."""

import itertools

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import SynchronousOnlyOperation
from django.template import Context, Template, TemplateSyntaxError, engines
from django.template.base import TextNode
from django.template.loader import render_to_string
from django.utils.functional import SimpleLazyObject

from djem_async.exceptions import AsyncMethodError

from .conftest import aallow
from .testapp.models import Thing

USE = "user 'testapp.use_thing' thing"


def template(arguments: str = USE, tag: str = "ifperm") -> Template:
    """Make a template that shows "yes" if the permission is granted, with either tag."""
    granted, denied = ("yes", "no") if tag == "ifperm" else ("no", "yes")
    return Template(
        f"{{% load djem_async %}}{{% {tag} {arguments} %}}{granted}"
        f"{{% else %}}{denied}{{% end{tag} %}}"
    )


@pytest.fixture(params=["ifperm", "ifnotperm"])
def ask(request):
    """Render a tag: ``ask("user 'app.perm' obj", user=…)`` is "yes" if that is granted."""

    def render(arguments: str = USE, **context):
        return template(arguments, request.param).render(Context(context))

    return render


def test_both_levels_decide(ask, user, thing, access_methods, settings, superuser):
    assert ask(user=user, thing=thing) == "yes"
    assert ask("user 'testapp.change_thing' thing", user=user, thing=thing) == "no"
    assert ask(user=AnonymousUser(), thing=thing) == "no"

    access_methods(Thing, _user_can_use_thing=lambda self, _user: self.name == "a thing")
    other = Thing.objects.create()
    assert (ask(user=user, thing=thing), ask(user=user, thing=other)) == ("yes", "no")
    assert ask(user=superuser, thing=other) == "yes"
    settings.DJEM_UNIVERSAL_OLP = True
    assert ask(user=superuser, thing=other) == "no"


def test_arguments_may_be_lookups_filtered_and_lazy(ask, user, thing):
    context = {"who": {"user": user}, "perms_of": ["testapp.use_thing"], "things": [thing]}

    assert ask("who.user perms_of.0 things.0", **context) == "yes"
    assert ask("who.user|default:'x' perms_of|first things|last", **context) == "yes"
    assert ask('who.user "TESTAPP.USE_THING"|lower things|last', **context) == "yes"
    lazy = {"user": SimpleLazyObject(lambda: user), "thing": SimpleLazyObject(lambda: thing)}
    assert ask(**lazy) == "yes"


class Order:
    """Attributes that templates cannot use."""

    @property
    def gone(self):
        raise Thing.DoesNotExist

    @property
    def broken(self):
        raise ZeroDivisionError

    def remove(self):  # pragma: no cover - Django does not call it
        raise AssertionError

    remove.alters_data = True

    def find(self, name):  # pragma: no cover - Django does not call it
        raise AssertionError


def test_errors_propagate(ask, superuser, thing):
    for place in (0, 1, 2):
        arguments = USE.split()
        arguments[place] = "order.broken"
        with pytest.raises(ZeroDivisionError):
            ask(" ".join(arguments), user=superuser, thing=thing, order=Order())


UNRESOLVABLE = """
missing missing.attribute order.missing order.missing.more order.gone order.gone.more order.remove
order.find things.7 things.0.missing nothing.attribute missing|default:None missing|upper
missing|default_if_none:None missing|first missing|length missing|dictsort:'x' order.find|upper
order.gone|default:None order.remove|default:None things.0|default:missing nothing|default:missing
"""


@pytest.mark.parametrize("place", [0, 1, 2], ids=["user", "perm", "obj"])
def test_unresolvable_variable_has_no_permission(superuser, thing, monkeypatch, place):
    context = {"user": superuser, "thing": thing, "things": [thing], "order": Order()}
    for tag, variable in itertools.product(("ifperm", "ifnotperm"), UNRESOLVABLE.split()):
        arguments = USE.split()
        arguments[place] = variable
        for string_if_invalid in ("", "?", "INVALID %s"):
            monkeypatch.setattr(engines["django"].engine, "string_if_invalid", string_if_invalid)
            shown = template(" ".join(arguments), tag).render(Context({**context, "nothing": None}))
            assert shown == "no", variable


@pytest.mark.parametrize("place", [0, 1, 2], ids=["user", "perm", "obj"])
def test_argument_that_is_none_has_no_permission(ask, superuser, thing, place):
    arguments = USE.split()
    context = {"user": superuser, "thing": thing, "lazy": SimpleLazyObject(lambda: None)}
    for arguments[place] in ("None", "nothing", "lazy"):
        if (place, arguments[place]) != (1, "lazy"):
            assert ask(" ".join(arguments), **context, nothing=None) == "no"


@pytest.mark.parametrize("tag", ["ifperm", "ifnotperm"])
def test_malformed_templates_are_syntax_errors(tag):
    for given in ("", "user", "user 'p'", "user 'p' thing more", "user p a b c"):
        with pytest.raises(TemplateSyntaxError, match=f"'{tag}' takes three arguments"):
            template(given, tag)
    opening = f"{{% load djem_async %}}{{% {tag} user 'p' thing %}}"
    for rest in ("", "{% else %}{% else %}{% end" + tag + " %}", "{% endif %}", "{% elif user %}"):
        with pytest.raises(TemplateSyntaxError):
            Template(opening + rest)


def test_blocks_are_found_by_template_inheritance(user, thing):
    parent = Template(
        "{% load djem_async %}{% ifperm user 'testapp.use_thing' thing %}"
        "{% block a %}A{% endblock %}{% else %}{% block b %}B{% endblock %}{% endifperm %}"
    )
    child = Template("{% extends parent %}{% block a %}a{% endblock %}{% block b %}b{% endblock %}")
    for who, shown in [(user, "a"), (AnonymousUser(), "b")]:
        assert child.render(Context({"parent": parent, "thing": thing, "user": who})) == shown
    assert [text.s for text in template().nodelist.get_nodes_by_type(TextNode)] == ["yes", "no"]


@pytest.mark.parametrize("name", ["a thing", "denied"])
def test_cached_decision_is_rendered_on_an_event_loop(user, thing, access_methods, name):
    access_methods(Thing, _user_can_use_thing=lambda self, user: self.name == name)

    async def view() -> str:
        await user.ahas_perm("testapp.use_thing", thing)
        return render_to_string("testapp/thing.html", {"user": user, "thing": thing})

    assert async_to_sync(view)().strip() == ("<b>a thing</b>" if name == "a thing" else "denied")


def test_uncached_check_on_an_event_loop_is_an_error(user, thing, access_methods):
    async def view() -> str:
        return template().render(Context({"user": user, "thing": thing}))

    with pytest.raises(
        SynchronousOnlyOperation, match=r"`user .*` needs a query.*Await `user.ahas_perm"
    ):
        async_to_sync(view)()

    access_methods(Thing, _auser_can_use_thing=aallow)
    user.has_perm("testapp.use_thing")
    with pytest.raises(AsyncMethodError, match="aallow is async"):
        async_to_sync(view)()
