"""`djem_async.contrib.logging`: checks in the log of the standard library."""

import logging

import pytest
from django.test import modify_settings

from djem_async.contrib.logging import log_check
from djem_async.signals import permission_checked
from tests.conftest import PERM
from tests.testapp.models import Document, Thing


@pytest.fixture(autouse=True)
def _installed():
    with modify_settings(INSTALLED_APPS={"append": "djem_async.contrib.logging"}):
        yield
    permission_checked.disconnect(log_check)


def test_denials_are_warnings_and_grants_are_for_debugging(
    api, user, thing, caplog, access_methods
):
    def is_owner(thing, user):
        user.log("Not the owner")
        return thing.owner_id == user.pk

    access_methods(Thing, _user_can_use_thing=is_owner)
    caplog.set_level(logging.DEBUG, "djem_async")
    api(user).has_perm(PERM, thing)
    api(user).has_perm(PERM)
    what, who = f"{PERM} on testapp.Thing {thing.pk}", f"user {user.pk}"
    denied = f"Permission denied: {what}, {who} (user_method: Not the owner)"
    granted = f"Permission granted: {PERM} at the model level, {who} (model_level)"
    assert caplog.record_tuples == [
        ("djem_async", logging.WARNING, denied),
        ("djem_async", logging.DEBUG, granted),
    ]
    record = caplog.records[0]
    assert (record.perm, record.user, record.object, record.model, record.reason) == (
        *(PERM, user.pk, thing.pk, "testapp.Thing"),
        "user_method",
    )
    assert (record.granted, record.lines, record.nested) == (False, ["Not the owner"], [])


def test_errors_are_logged_by_their_type(user, thing, caplog, access_methods):
    def broken(*_):
        raise ValueError("a secret")

    access_methods(Thing, _user_can_use_thing=broken)
    with pytest.raises(ValueError, match="a secret"):
        user.has_perm(PERM, thing)
    (record,) = caplog.records
    assert record.getMessage().endswith("(error: ValueError)")
    assert "a secret" not in str(vars(record))


def test_control_characters_are_escaped(user, thing, caplog, access_methods):
    def deny(_, user):
        user.log("no\nPermission granted: \x1b[31m\u202e")
        return user.has_perm("testapp.view_document\r", Document(pk=thing.pk))

    access_methods(Thing, _user_can_use_thing=deny)
    user.has_perm(PERM, thing)
    for record in caplog.records:
        assert record.getMessage().isprintable()
    assert caplog.records[-1].lines == ["no\\nPermission granted: \\x1b[31m\\u202e"]
    assert caplog.records[-1].nested[0]["perm"] == "testapp.view_document\\r"


def test_nothing_is_formatted_at_a_level_that_is_off(user, caplog):
    caplog.set_level(logging.ERROR, "djem_async")
    user.has_perm(PERM)
    user.has_perm("testapp.x")
    assert caplog.records == []
