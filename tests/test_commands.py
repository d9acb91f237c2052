"""The commands `explain_perm` and `list_access`."""

import json
import sys
from io import StringIO

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db.models import Q

from djem_async.access import nonblocking, without_model_level
from djem_async.models import OLPMixin
from tests.conftest import PERM, aallow, allow, deny, grant
from tests.testapp.models import (
    CompositeThing,
    Document,
    OtherThing,
    PlainUser,
    SpecialThing,
    Thing,
)


def run(command, *arguments, **options):
    """Run a command; return its exit code, and what it writes to each of both streams."""
    out, err, code = StringIO(), StringIO(), 0
    options = {"no_color": True, **options}
    try:
        call_command(command, *map(str, arguments), stdout=out, stderr=err, **options)
    except SystemExit as end:
        code = end.code
    except CommandError as error:
        code = error.returncode
        err.write(str(error))
    return code, out.getvalue(), err.getvalue()


def reject(self, user):
    user.log("Not yours", "Ask\nthe owner")
    return False


def test_denial_is_explained(user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=reject, __len__=lambda self: 0)
    access_methods(type(user), __len__=lambda self: 0)
    expected = (
        f"Denied to user.name ({user.pk}) on a thing ({thing.pk})\n{user.explain_perm(PERM, thing)}"
    )
    assert "| Not yours\n" in expected
    for name in ("user.name", user.pk):
        assert run("explain_perm", name, PERM, thing.pk) == (1, f"{expected}\n", "")
    user.clear_perm_cache()
    explanation = user.explain_perm(PERM, thing).as_dict()
    code, out, _ = run("explain_perm", "user.name", PERM, thing.pk, json=True)
    assert (code, json.loads(out)) == (1, explanation)


def test_object_without_a_text_is_named_by_its_key(user, thing, access_methods):
    access_methods(Thing, __str__=lambda self: 1 / 0)
    code, out, _ = run("explain_perm", "user.name", PERM, thing.pk)
    assert (code, out.splitlines()[0].split(" on ")[1]) == (0, f"testapp.Thing {thing.pk}")


def test_model_level_is_explained(user):
    code, out, _ = run("explain_perm", "user.name", PERM)
    assert (code, out) == (0, f"Granted to user.name ({user.pk})\n{user.explain_perm(PERM)}\n")
    assert run("explain_perm", "user.name", "testapp.change_thing")[0] == 1


def test_error_is_not_taken_for_a_denial(user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: "\x1b")
    code, out, err = run("explain_perm", "user.name", PERM, thing.pk)
    assert code == 3
    assert "raised NotADecisionError" in out
    assert err.startswith("djem_async.exceptions.NotADecisionError: ")
    code, _, err = run("explain_perm", "user.name", PERM, thing.pk, traceback=True)
    assert code == 3
    assert "Traceback" in err
    access_methods(Thing, _user_can_use_thing=lambda self, user: sys.exit(0))
    code, _, err = run("explain_perm", "user.name", PERM, thing.pk)
    assert (code, err) == (3, "The code of the project ended the process.")


UNKNOWN = """\
user testapp.use_thing: There is no user 'user'. Did you mean 'user.name'?
usr.name testapp.use_thing: There is no user 'usr.name'. Did you mean 'user.name'?
zzz testapp.use_thing: There is no user 'zzz'.
user.name testapp.use_thing 7 --model=Thing: There is no model 'Thing'.\
 Did you mean testapp.Thing?
user.name testapp.us_thing: There is no permission 'testapp.us_thing'.\
 Did you mean 'testapp.use_thing'?
user.name -: There is no permission '-'.\
 Write 'app_label.codename'.
user.name testapp.use_thing BOOK: There is no testapp.Thing with the primary key 'BOOK'.\
 Did you mean 7 (book)?
user.name testapp.use_thing 99: There is no testapp.Thing with the primary key '99'.
user.name testapp.use_thing 7 --model=testapp.Thin: There is no model 'testapp.Thin'.\
 Did you mean testapp.Thing?
user.name x.sell 7 --model=testapp.Thing: Thing has no permission 'x.sell'.\
 Correct its name, or the model.
user.name testapp.add_thing 7 --model=testapp.Page: Page has no permission 'testapp.add_thing'.\
 Did you mean 'testapp.add_page'?
user.name testapp.shared 7: The name 'testapp.shared' doesn't tell the model.\
 Add --model testapp.Thing or testapp.OtherThing.
"""


@pytest.mark.parametrize("line", UNKNOWN.splitlines())
def test_unknown_name_has_an_exit_code_of_its_own(user, monkeypatch, line):
    Thing.objects.create(pk=7, name="book")
    for model in (Thing, OtherThing):
        permissions = [*model._meta.permissions, ("shared", "")]
        monkeypatch.setattr(model._meta, "permissions", permissions)
    arguments, problem = line.split(": ", 1)
    assert run("explain_perm", *arguments.split()) == (2, "", problem)


def test_model_that_owns_a_permission_by_method(user, thing, access_methods):
    user = grant(user, "testapp.add_document")
    document = Document.objects.create()
    access_methods(Thing, _user_can_add_document=deny)
    code, _, problem = run("explain_perm", user.pk, "testapp.add_document", document.pk)
    assert (code, problem.partition(". ")[2]) == (
        2,
        "Add --model testapp.Document or testapp.Thing.",
    )
    options = {"model": "testapp.Document"}
    assert run("explain_perm", user.pk, "testapp.add_document", document.pk, **options)[0] == 0
    options = {"model": "testapp.Thing"}
    code, out, _ = run("explain_perm", user.pk, "testapp.add_document", thing.pk, **options)
    assert code == 1
    assert "Thing._user_can_add_document" in out


def test_permission_that_only_the_database_has(user, thing):
    kind = ContentType.objects.get_for_model(Thing)
    Permission.objects.create(codename="lend_thing", name="Can lend", content_type=kind)
    user, perm = grant(user, "testapp.lend_thing"), "testapp.lend_thing"
    assert run("explain_perm", user.pk, perm)[0] == 0
    code, _, err = run("explain_perm", user.pk, perm, thing.pk)
    assert (code, err) == (
        2,
        f"The name {perm!r} doesn't tell the model. Add --model APP.MODEL.",
    )
    assert run("explain_perm", user.pk, perm, thing.pk, model="testapp.Thing")[0] == 0


def test_permission_that_only_a_method_names(user, access_methods):
    access_methods(Document, _user_can_sign=allow)
    document = Document.objects.create()
    code, out, _ = run("explain_perm", user.pk, "testapp.sign", document.pk)
    assert code == 1
    assert "model_level" in out


def test_primary_keys_of_other_types(user):
    user = grant(user, "testapp.view_document", "testapp.view_compositething")
    document = Document.objects.create()
    thing = CompositeThing.objects.create(tenant=1, number=2)
    assert run("explain_perm", user.pk, "testapp.view_document", document.pk)[0] == 0
    for key in ("no uuid", "1"):
        assert run("explain_perm", user.pk, "testapp.view_document", key)[0] == 2
    key = json.dumps(thing.pk)
    assert run("explain_perm", user.pk, "testapp.view_compositething", key)[0] == 0


def test_user_without_the_mixin(db, settings, thing, access_methods):
    settings.AUTH_USER_MODEL = "testapp.PlainUser"
    assert not issubclass(PlainUser, OLPMixin)
    PlainUser.objects.create(name="plain", is_superuser=True)
    PlainUser.objects.create(name="away", is_active=False)
    code, out, _ = run("explain_perm", "plain", PERM, thing.pk)
    assert code == 0
    assert out.startswith("Granted to plain (")
    assert "inactive" in run("explain_perm", "away", PERM, thing.pk)[1]


def test_control_characters_are_escaped(user):
    thing = Thing.objects.create(name="\x1b[2Jé\nDenied")
    assert (
        f" on \\x1b[2Jé\\nDenied ({thing.pk})\n" in run("explain_perm", user.pk, PERM, thing.pk)[1]
    )


def test_colors_are_for_terminals(user):
    assert "\x1b" not in run("explain_perm", user.pk, PERM, no_color=False)[1]
    code, out, _ = run("explain_perm", user.pk, PERM, no_color=False, force_color=True)
    assert code == 0
    assert out.startswith("\x1b[")


@pytest.fixture
def many_forms(access_methods):
    access_methods(
        Thing,
        _user_can_use_thing=nonblocking(lambda self, user: True),
        _auser_can_use_thing=aallow,
        _quser_can_use_thing=classmethod(lambda cls, user: Q()),
        _group_can_use_thing=aallow,
        _user_can_view_thing=without_model_level(anonymous=True)(allow),
        _qgroup_can_view_thing=without_model_level(classmethod(lambda cls, groups: Q())),
        _user_can_add_document=allow,
    )


TABLE = """\
testapp.Thing
  testapp.add_document           user   def
  testapp.add_thing              open
  testapp.change_thing           open
  testapp.delete_thing           open
  testapp.use_thing              user   def, async, query nonblocking
                                 group  async
  testapp.view_thing             user   def               without_model_level, visitors
                                 group  query             without_model_level
"""


def test_table_of_access_methods(many_forms, access_methods):
    code, out, err = run("list_access", "testapp")
    assert (code, err) == (0, "")
    assert TABLE in out
    assert max(map(len, out.splitlines())) <= 100
    rows = json.loads(run("list_access", "testapp", json=True)[1])
    mark = {"nonblocking": False, "without_model_level": True}
    assert {
        "model": "testapp.Thing",
        "perm": "testapp.view_thing",
        "access": "methods",
        "methods": [
            {"source": "user", "forms": ["def"], **mark, "visitors": True},
            {"source": "group", "forms": ["query"], **mark, "visitors": False},
        ],
    } in rows
    # What is inherited is a permission on the object as well, and what is nearer decides.
    access_methods(
        SpecialThing,
        _quser_can_use_thing=classmethod(lambda cls, user: Q()),
        _auser_can_view_thing=without_model_level(anonymous=True)(aallow),
    )
    rows = json.loads(run("list_access", "testapp", json=True)[1])
    forms = {
        (row["perm"], method["source"]): method["forms"]
        for row in rows
        if row["model"] == "testapp.SpecialThing"
        for method in row["methods"]
    }
    assert forms[PERM, "user"] == ["query"]
    assert forms[PERM, "group"] == ["async"]
    assert forms["testapp.view_thing", "user"] == ["async"]


def test_long_names_have_lines_of_their_own(monkeypatch):
    name = "x" * 60
    monkeypatch.setattr(Thing._meta, "permissions", [(name, "")])
    assert f"  testapp.{name}\n{'':33}open\n" in run("list_access", "testapp")[1]


def test_models_of_django_are_left_out_unless_they_are_named(access_methods):
    everything = run("list_access")[1]
    assert "testapp.Thing\n" in everything
    assert "auth." not in everything
    assert "auth.Group\n  auth.add_group " in run("list_access", "auth")[1]
    access_methods(Group, _user_can_view_group=allow)
    everything = run("list_access")[1]
    assert "auth.Group\n" in everything
    assert "auth.Permission\n" not in everything


def test_open_permissions_can_fail(settings, access_methods):
    access_methods(
        ContentType, _user_can_view_contenttype=allow, _user_can_change_contenttype=allow
    )
    command = ("list_access", "contenttypes")
    assert run(*command)[0] == 0
    code, out, err = run(*command, fail_on_open=True, json=True)
    assert code == 1
    assert json.loads(out)
    assert err == (
        "Open on all objects: contenttypes.add_contenttype (contenttypes.ContentType),"
        " contenttypes.delete_contenttype (contenttypes.ContentType). Define access methods, or"
        " pass --allow-open for those that are meant to be open."
    )
    allowed = ["*.add_*", "contenttypes.delete_contenttype"]
    assert run(*command, fail_on_open=True, allow_open=allowed)[0] == 0
    settings.DJEM_OPEN_BY_DEFAULT = False
    code, out, _ = run(*command, fail_on_open=True)
    assert code == 0
    assert " closed\n" in out


def test_list_of_what_cannot_be_listed(access_methods):
    code, _, err = run("list_access", "testap")
    assert (code, err) == (2, "There is no app 'testap'. Did you mean 'testapp'?")
    assert run("list_access", "-")[2] == "There is no app '-'."
    access_methods(Thing, _user_can_use_thing=without_model_level(allow))
    access_methods(Thing, _auser_can_use_thing=aallow)
    code, _, err = run("list_access")
    assert code == 2
    assert "_user_can_use_thing and _auser_can_use_thing of Thing are forms of one" in err
