"""``{% ifperm %}`` and ``{% ifnotperm %}``."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import SynchronousOnlyOperation
from django.template import Context, Engine, Template, TemplateSyntaxError, engines
from django.template.base import TextNode
from django.template.loader import render_to_string
from django.utils.functional import SimpleLazyObject

from djem_async.exceptions import AsyncMethodError, NotADecisionError
from djem_async.templatetags.djem_async import PermissionNode

from .conftest import grant
from .testapp.models import Thing, User

USE = "user 'testapp.use_thing' thing"


def template(arguments: str = USE, tag: str = "ifperm") -> Template:
    """Make a template that says what the check says, in both tags' way."""
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


@pytest.fixture
def superuser(db):
    return User.objects.create_superuser("super")


def allow(*_args):
    return True


def deny(*_args):
    return False


async def aallow(*_args):
    return True


# What is asked


@pytest.mark.parametrize(("method", "answer"), [(allow, "yes"), (deny, "no")])
def test_the_object_decides(ask, user, thing, access_methods, method, answer):
    access_methods(Thing, _user_can_use_thing=method)

    assert ask(user=user, thing=thing) == answer


def test_the_model_level_counts_too(ask, user, thing):
    assert ask("user 'testapp.change_thing' thing", user=user, thing=thing) == "no"
    assert ask("user 'testapp.use_thing' thing", user=user, thing=thing) == "yes"


@pytest.mark.parametrize("arguments", ["user 'testapp.use_thing' None", USE])
def test_none_asks_the_model_level(ask, user, access_methods, arguments):
    access_methods(Thing, _user_can_use_thing=deny)

    assert ask(arguments, user=user, thing=None) == "yes"


def test_arguments_may_be_variables_lookups_and_filtered(ask, user, thing):
    context = {"who": {"user": user}, "perms_of": ["testapp.use_thing"], "things": [thing]}

    assert ask("who.user perms_of.0 things.0", **context) == "yes"
    assert ask("who.user perms_of|first things|last", **context) == "yes"
    assert ask('who.user "TESTAPP.USE_THING"|lower things|last', **context) == "yes"


def test_a_value_that_is_there_may_have_a_default(ask, user, thing):
    assert (
        ask(
            "user|default:'x' perm|default:'x' thing|default_if_none:'x'",
            user=user,
            perm="testapp.use_thing",
            thing=thing,
        )
        == "yes"
    )


def test_the_user_of_the_request_is_asked_through_its_lazy_object(ask, user, thing):
    assert ask(user=SimpleLazyObject(lambda: user), thing=thing) == "yes"
    assert ask(user=user, thing=SimpleLazyObject(lambda: thing)) == "yes"


@pytest.mark.parametrize("arguments", [USE, "user 'testapp.use_thing' None"])
def test_an_anonymous_user_has_no_permission(ask, thing, arguments):
    assert ask(arguments, user=AnonymousUser(), thing=thing) == "no"


def test_a_superuser_is_subject_to_universal_olp(ask, superuser, thing, access_methods, settings):
    access_methods(Thing, _user_can_use_thing=deny)

    assert ask(user=superuser, thing=thing) == "yes"
    settings.DJEM_UNIVERSAL_OLP = True
    assert ask(user=superuser, thing=thing) == "no"


def test_an_async_access_method_is_asked(ask, user, thing, access_methods):
    access_methods(Thing, _auser_can_use_thing=aallow, _user_can_use_thing=None)
    with pytest.raises(TypeError):
        ask(user=user, thing=thing)

    access_methods(Thing, _user_can_use_thing=aallow)
    assert ask(user=user, thing=thing) == "yes"


def test_exceptions_propagate(ask, user, thing, access_methods):
    def fail(self, _user):
        raise ZeroDivisionError

    access_methods(Thing, _user_can_use_thing=fail)

    with pytest.raises(ZeroDivisionError):
        ask(user=user, thing=thing)


@pytest.mark.parametrize("answer", [True, False])
def test_an_async_answer_of_the_user_is_awaited(ask, thing, answer):
    class AsyncUser:
        async def has_perm(self, perm, obj=None):
            return answer

    assert ask(user=AsyncUser(), thing=thing) == ("yes" if answer else "no")


@pytest.mark.parametrize("is_lazy", [True, False])
def test_the_form_that_the_user_model_overrides_decides(ask, user, thing, access_methods, is_lazy):
    async def refuse(self, perm, obj=None):
        return False

    access_methods(User, ahas_perm=refuse)
    user.is_superuser = True

    assert ask(user=SimpleLazyObject(lambda: user) if is_lazy else user, thing=thing) == "no"


def test_a_coroutine_is_never_an_answer(ask, thing):
    class ForgetfulUser:
        def has_perm(self, perm, obj=None):
            return aallow()

    with pytest.raises(NotADecisionError):
        ask(user=ForgetfulUser(), thing=thing)


# What cannot be resolved


class Order:
    """What templates meet: relations that lead nowhere, and methods."""

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


UNRESOLVABLE = [
    "missing",
    "missing.attribute",
    "order.missing",
    "order.missing.more",
    "order.gone",
    "order.gone.more",
    "order.remove",
    "order.find",
    "things.7",
    "things.0.missing",
    "nothing.attribute",
    "missing|default:None",
    "missing|default_if_none:None",
    "missing|upper",
    "missing|first",
    "missing|length",
    "missing|dictsort:'x'",
    "order.gone|default:None",
    "order.gone|default_if_none:None",
    "order.remove|default:None",
    "order.find|upper",
    "things.0|default:missing",
    "nothing|default:missing",
]


@pytest.mark.parametrize("variable", UNRESOLVABLE)
@pytest.mark.parametrize("place", [0, 1, 2], ids=["user", "perm", "obj"])
@pytest.mark.parametrize("who", ["user", "superuser"])
def test_what_cannot_be_resolved_has_no_permission(
    request, thing, monkeypatch, who, place, variable
):
    """Quietly, and for nobody: it never becomes a check of the model level."""
    arguments = ["user", "'testapp.use_thing'", "thing"]
    arguments[place] = variable
    context = {
        "user": request.getfixturevalue(who),
        "thing": thing,
        "things": [thing],
        "order": Order(),
        "nothing": None,
    }

    for tag in ("ifperm", "ifnotperm"):
        for string_if_invalid in ("", "?", "INVALID %s"):
            monkeypatch.setattr(engines["django"].engine, "string_if_invalid", string_if_invalid)
            assert template(" ".join(arguments), tag).render(Context(context)) == "no"


@pytest.mark.parametrize("place", [0, 1])
def test_no_user_and_no_permission_are_denied(ask, superuser, thing, place):
    arguments = ["user", "'testapp.use_thing'", "thing"]
    arguments[place] = "None"

    assert ask(" ".join(arguments), user=superuser, thing=thing) == "no"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_errors_in_variables_propagate(ask, user, thing, place):
    arguments = ["user", "'testapp.use_thing'", "thing"]
    arguments[place] = "order.broken"

    with pytest.raises(ZeroDivisionError):
        ask(" ".join(arguments), user=user, thing=thing, order=Order())


@pytest.mark.parametrize("who", ["somebody", 0, object()])
def test_what_is_no_user_is_an_error(ask, thing, who):
    with pytest.raises((AttributeError, TypeError), match="has_perm"):
        ask(user=who, thing=thing)


@pytest.mark.parametrize("obj", ["", "text", 0, 7, [], {}, object()])
@pytest.mark.parametrize("is_universal", [True, False])
def test_what_is_no_model_instance_is_denied(ask, user, settings, obj, is_universal):
    settings.DJEM_UNIVERSAL_OLP = is_universal

    assert ask(user=user, thing=obj) == "no"


# The form of the tag


def test_without_else_nothing_is_rendered(user, thing):
    source = (
        "{% load djem_async %}"
        "{% ifperm user 'testapp.use_thing' thing %}a{% endifperm %}"
        "{% ifnotperm user 'testapp.use_thing' thing %}b{% endifnotperm %}"
        "{% ifperm user 'testapp.change_thing' thing %}c{% endifperm %}"
        "{% ifnotperm user 'testapp.change_thing' thing %}d{% endifnotperm %}"
    )

    assert Template(source).render(Context({"user": user, "thing": thing})) == "ad"


def test_only_the_block_that_is_selected_is_rendered(user, thing):
    rendered = []
    source = (
        "{% load djem_async %}{% ifperm user 'testapp.use_thing' thing %}{{ a }}{% else %}{{ b }}"
        "{% endifperm %}"
    )
    context = {"a": lambda: rendered.append("a"), "b": lambda: rendered.append("b")}

    Template(source).render(Context({"user": user, "thing": thing, **context}))

    assert rendered == ["a"]


@pytest.mark.parametrize("tag", ["ifperm", "ifnotperm"])
@pytest.mark.parametrize(
    "arguments",
    ["", "user", "user 'testapp.use_thing'", "user 'testapp.use_thing' thing more", "user p a b c"],
)
def test_there_must_be_three_arguments(tag, arguments):
    with pytest.raises(TemplateSyntaxError, match=f"'{tag}' takes three arguments"):
        template(arguments, tag)


@pytest.mark.parametrize(
    "body",
    [
        "{% ifperm user 'p' thing %}",
        "{% ifperm user 'p' thing %}{% else %}",
        "{% ifperm user 'p' thing %}{% else %}{% else %}{% endifperm %}",
        "{% ifperm user 'p' thing %}{% endifnotperm %}",
        "{% ifperm user 'p' thing %}{% endif %}",
        "{% ifperm user 'p' thing %}{% elif user %}{% endifperm %}",
        "{% ifperm user 'p thing %}{% endifperm %}",
        "{% ifperm user 'p' thing|nofilter %}{% endifperm %}",
        "{% endifperm %}",
    ],
)
def test_malformed_templates_are_syntax_errors(body):
    with pytest.raises(TemplateSyntaxError):
        Template("{% load djem_async %}" + body)


def test_tags_nest(user, thing):
    grant(user, "testapp.change_thing")
    source = (
        "{% load djem_async %}{% ifperm user 'testapp.use_thing' thing %}"
        "{% ifperm user 'testapp.delete_thing' thing %}all{% else %}"
        "{% ifnotperm user 'testapp.change_thing' thing %}some{% else %}most{% endifnotperm %}"
        "{% endifperm %}{% else %}none{% endifperm %}"
    )

    assert Template(source).render(Context({"user": user, "thing": thing})) == "most"


def test_each_turn_of_a_loop_asks_anew(user, db, access_methods):
    things = [Thing.objects.create(name=name) for name in "abc"]
    access_methods(Thing, _user_can_use_thing=lambda self, _user: self.name != "b")
    source = (
        "{% load djem_async %}{% for thing in things %}"
        "{% ifperm user 'testapp.use_thing' thing %}{{ thing }}{% else %}-{% endifperm %}"
        "{% endfor %}"
    )

    assert Template(source).render(Context({"user": user, "things": things})) == "a-c"


def test_variables_are_escaped_as_everywhere(user, thing):
    thing.name = "<b>"
    source = "{% load djem_async %}{% ifperm user 'testapp.use_thing' thing %}{{ thing }}"
    context = {"user": user, "thing": thing}

    escaped = Template(source + "{% endifperm %}").render(Context(context))
    plain = Template(source + "{% endifperm %}").render(Context(context, autoescape=False))

    assert (escaped, plain) == ("&lt;b&gt;", "<b>")


def test_the_blocks_are_found_by_those_who_look_for_nodes():
    nodes = template().nodelist

    (node,) = nodes.get_nodes_by_type(PermissionNode)
    texts = [text.s for text in nodes.get_nodes_by_type(TextNode)]

    assert texts == ["yes", "no"]
    assert "PermissionNode" in repr(node)


def test_an_extended_template_may_have_blocks_in_both_branches(user, thing):
    parent = Template(
        "{% load djem_async %}{% ifperm user 'testapp.use_thing' thing %}"
        "{% block a %}A{% endblock %}{% else %}{% block b %}B{% endblock %}{% endifperm %}"
    )
    child = Template("{% extends parent %}{% block a %}a{% endblock %}{% block b %}b{% endblock %}")
    context = {"parent": parent, "thing": thing}

    assert child.render(Context({**context, "user": user})) == "a"
    assert child.render(Context({**context, "user": AnonymousUser()})) == "b"


def test_an_error_page_points_at_the_tag(user, thing, access_methods):
    def fail(self, _user):
        raise ZeroDivisionError

    access_methods(Thing, _user_can_use_thing=fail)
    engine = Engine(debug=True, libraries={"djem_async": "djem_async.templatetags.djem_async"})
    source = "{% load djem_async %}\n{% ifperm user 'testapp.use_thing' thing %}{% endifperm %}"

    with pytest.raises(ZeroDivisionError) as caught:
        engine.from_string(source).render(Context({"user": user, "thing": thing}))
    assert caught.value.template_debug["during"].startswith("{% ifperm")


def test_a_node_can_be_rendered_outside_of_a_template(user, thing):
    (node,) = template("user 'testapp.use_thing' thing").nodelist.get_nodes_by_type(PermissionNode)
    context = Context({"user": user, "thing": thing})

    assert node._is_granted(context)


# On an event loop


def test_what_has_been_asked_before_is_rendered_on_an_event_loop(user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: self.owner_id is None)

    async def view() -> str:
        await user.ahas_perm("testapp.use_thing", thing)
        return render_to_string("testapp/thing.html", {"user": user, "thing": thing})

    assert async_to_sync(view)().strip() == "<b>a thing</b>"


def test_a_denial_is_rendered_on_an_event_loop_too(user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=deny)

    async def view() -> str:
        await user.ahas_perm("testapp.use_thing", thing)
        return template().render(Context({"user": user, "thing": thing}))

    assert async_to_sync(view)() == "no"


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_a_cold_check_on_an_event_loop_is_an_error(user, thing, settings, verbosity):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity

    async def view() -> str:
        return template().render(Context({"user": user, "thing": thing}))

    with pytest.raises(SynchronousOnlyOperation):
        async_to_sync(view)()


def test_a_cold_async_access_method_on_an_event_loop_is_an_error(user, thing, access_methods):
    access_methods(Thing, _auser_can_use_thing=aallow)

    async def view() -> str:
        await user.ahas_perm("testapp.use_thing")
        return template().render(Context({"user": user, "thing": thing}))

    with pytest.raises(AsyncMethodError, match="aallow is async"):
        async_to_sync(view)()


def test_other_objects_stay_cold(user, thing):
    other = Thing.objects.create()

    async def view() -> str:
        await user.ahas_perm("testapp.use_thing", thing)
        return template().render(Context({"user": user, "thing": other}))

    # Nothing is asked of it, and the model level is known: no query, and so no error.
    assert async_to_sync(view)() == "yes"
