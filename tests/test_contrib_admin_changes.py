"""`djem_async.contrib.admin`: changes and deletions, in bulk, in inlines and by cascades."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.contenttypes.admin import GenericTabularInline
from django.db import connection
from django.db.models import PROTECT, Q
from django.test.utils import CaptureQueriesContext

from djem_async.contrib.admin import ObjectPermissionsAdmin, ObjectPermissionsInline
from djem_async.exceptions import NoQueryFormError
from tests.admin_sites import SITES, PageAdmin
from tests.test_contrib_admin import (
    FORMS,
    NO_CHILDREN,
    PAGES,
    client_of,
    granted,
    management_form,
    messages_of,
    seen,
    titles,
)
from tests.test_contrib_admin import _admin as _admin
from tests.test_contrib_admin import world as world
from tests.test_public_api import ROOT
from tests.testapp.models import Gate, Memo, Page, Product, User

pytestmark = pytest.mark.django_db


def post_action(client: Any, action: str, pks: list[int], *, across: bool = False, **data: Any):
    return client.post(
        PAGES, {"action": action, "_selected_action": pks, "select_across": int(across), **data}
    )


ACTIONS = {"promote": "change", "delete_selected": "delete", "read": "read"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("action", ACTIONS)
def test_actions_ask_for_each_object(world: Any, access_methods: Any, action: str, form: str):
    access_methods(Page, _quser_can_read_page=classmethod(lambda *_: Q(title__contains="v")))
    staff, pages = world(form)
    client = client_of(staff)
    allowed = granted(staff, pages.values(), ACTIONS[action]) & seen(staff, pages.values())

    def touched() -> set[str]:
        left = dict(Page.objects.values_list("title", "rank"))
        return {page.title for page in pages.values() if left.get(page.title, 0) is not None}

    every = [page.pk for page in pages.values()]
    for pks, across in [(every, False), (every[:1], True), *(([pk], False) for pk in every)]:
        before = touched()
        visible = {page.title for page in pages.values() if page.pk in pks or across}
        visible &= seen(staff, pages.values())
        response = post_action(client, action, pks, across=across, post="yes")
        # All or nothing, of those that the user may see.
        expected = before | (visible if visible <= allowed else set())
        assert touched() == expected
        if visible - allowed:
            assert "Nothing was done" in messages_of(response)
            assert not titles(client.get(PAGES)) - seen(staff, pages.values())
    assert touched() == allowed


def test_actions_without_permissions_get_visible_objects(world: Any):
    staff, pages = world()
    response = post_action(client_of(staff), "count", [page.pk for page in pages.values()])
    assert "6 selected" in messages_of(response)


@pytest.mark.parametrize("form", FORMS)
def test_list_editable_changes_what_checks_grant(world: Any, form: str):
    staff, pages = world(form)
    client = client_of(staff)
    allowed = granted(staff, pages.values(), "change")
    rows = client.get(PAGES).context["cl"].formset.forms
    # From 6.1 on, Django removes fields that may not be edited.
    editable = [each for each in rows if "rank" in each.fields and not each.fields["rank"].disabled]
    assert {each.instance.title for each in editable} == allowed
    data = {"_save": "Save", **management_form("form", len(pages))}
    for number, page in enumerate(pages.values()):
        data |= {f"form-{number}-id": page.pk, f"form-{number}-rank": 5}
    client.post(PAGES, data)
    # Django refuses to save anything if a row isn't in the list.
    assert not Page.objects.filter(rank=5).exists()
    visible = [page for page in pages.values() if page.title in seen(staff, pages.values())]
    data |= management_form("form", len(visible))
    for number, page in enumerate(visible):
        data |= {f"form-{number}-id": page.pk, f"form-{number}-rank": 5}
    client.post(PAGES, data)
    assert set(Page.objects.filter(rank=5).values_list("title", flat=True)) == allowed


@pytest.fixture
def family(world: Any) -> Any:
    """Make a page for each set of letters that is a child of one that may be changed."""

    def make(form: str = "query") -> tuple[User, Page, dict[str, Page]]:
        staff, pages = world(form)
        parent = Page.objects.create(title="parent-vcd")
        Page.objects.filter(pk__in=[page.pk for page in pages.values()]).update(parent=parent)
        return staff, parent, pages

    return make


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_forged", [False, True])
def test_inline_rows(family: Any, form: str, is_forged: bool):
    staff, parent, pages = family(form)
    client = client_of(staff)
    url = f"{PAGES}{parent.pk}/change/"
    response = client.get(url)
    shown = response.context["inline_admin_formsets"][0].formset.initial_forms
    visible = seen(staff, pages.values())
    assert {each.instance.title for each in shown} == visible
    rows = [page for page in pages.values() if is_forged or page.title in visible]

    def send(**each: Any) -> Any:
        data = {"title": "parent-vcd", **management_form("children", len(rows))}
        for number, page in enumerate(rows):
            data |= {f"children-{number}-id": page.pk, f"children-{number}-parent": parent.pk}
            data |= {f"children-{number}-{name}": value for name, value in each.items()}
            data[f"children-{number}-title"] = page.title
        return client.post(url, data)

    before = granted(staff, pages.values(), "change"), granted(staff, pages.values(), "delete")
    send(rank=5)
    changed = set(Page.objects.filter(rank=5).values_list("title", flat=True))
    send(DELETE="on")
    left = set(parent.children.values_list("title", flat=True))
    deleted = {page.title for page in pages.values()} - left
    # Django changes nothing if a row isn't one of the formset.
    assert changed == (set() if is_forged else before[0])
    assert deleted == before[1] & visible


def test_inline_rows_need_a_parent_that_may_be_changed(family: Any):
    staff, parent, pages = family()
    Page.objects.filter(pk=parent.pk).update(title="parent-v")
    client = client_of(staff)
    response = client.get(f"{PAGES}{parent.pk}/change/")
    assert b'name="_save"' not in response.content
    assert titles(response) == seen(staff, pages.values())
    data = {"title": "parent-v", **management_form("children", 1)}
    data |= {"children-0-id": pages["vcd"].pk, "children-0-rank": 5, "children-0-DELETE": "on"}
    assert client.post(f"{PAGES}{parent.pk}/change/", data).status_code == 403


@pytest.mark.parametrize("is_granted", [False, True])
def test_access_methods_decide_what_is_added(family: Any, access_methods: Any, is_granted: bool):
    staff, parent, pages = family()
    client = client_of(staff)
    access_methods(Page, _user_can_add_page=lambda page, user: is_granted)
    new = {"title": "new-vcd", **NO_CHILDREN}
    copy = {**new, "title": "copy-vcd", "_saveasnew": "yes"}
    row = {"title": parent.title, **management_form("children", 0, new=1)}
    row |= {"children-0-title": "row-vcd", "children-0-parent": parent.pk}
    urls = {f"{PAGES}add/": new, f"{PAGES}{pages['vcd'].pk}/change/": copy}
    for url, data in {**urls, f"{PAGES}{parent.pk}/change/": row}.items():
        assert client.post(url, data).status_code == (302 if is_granted else 403)
    added = Page.objects.filter(title__in=["new-vcd", "copy-vcd", "row-vcd"])
    assert added.count() == (3 if is_granted else 0)


def test_options_of_other_packages_can_be_extended(world: Any, rf: Any):
    staff, _ = world()

    class Users(ObjectPermissionsAdmin, UserAdmin):
        pass

    request = rf.get("/")
    request.user = staff
    options = Users(User, admin.site)
    assert "password1" in options.get_form(request, None, change=False).base_fields
    assert "password" in options.get_form(request, staff, change=True).base_fields


def test_what_other_options_do_with_a_form_is_kept(world: Any, rf: Any):
    staff, pages = world()

    class Narrow(admin.ModelAdmin):
        def get_form(self, *args: Any, **kwargs: Any) -> Any:
            form = super().get_form(*args, **kwargs)
            form.base_fields["title"].disabled = True
            return form

    class Pages(ObjectPermissionsAdmin, Narrow):
        fields = ("title",)

    request = rf.get("/")
    request.user = staff
    form = Pages(Page, admin.site).get_form(request, pages["vcd"], change=True)
    assert form(instance=pages["vcd"]).fields["title"].disabled


def test_inline_class_that_leaves_permissions_out_has_to_be_last():
    with pytest.raises(TypeError, match="lists GenericInlineModelAdmin first, whose get_formset"):
        type("Wrong", (GenericTabularInline, ObjectPermissionsInline), {})
    type("Right", (ObjectPermissionsInline, GenericTabularInline), {})


def test_checked_rows_are_those_of_one_database(world: Any, rf: Any):
    request = rf.get("/")
    request.user, _ = world("python")
    queryset = SITES["select"].get_model_admin(Page).get_queryset(request)
    assert queryset.exists()
    with pytest.raises(ValueError, match="different databases"):
        list(queryset.using("other"))


@pytest.mark.parametrize("text", ["memo-d", "memo-v"])
def test_protected_objects_of_inline_rows(family: Any, monkeypatch: Any, text: str):
    staff, parent, pages = family()
    memo = Memo.objects.create(text=text, page=pages["vcd"])
    monkeypatch.setattr(Memo._meta.get_field("page").remote_field, "on_delete", PROTECT)
    data = {"title": parent.title, **management_form("children", 1), "children-0-DELETE": "on"}
    data |= {"children-0-id": pages["vcd"].pk, "children-0-parent": parent.pk}
    data["children-0-title"] = "page-vcd"
    page = client_of(staff).post(f"{PAGES}{parent.pk}/change/", data).content.decode()
    assert (str(memo) in page) == (text == "memo-v")
    assert ("objects that you may not view" in page) == (text == "memo-d")
    assert Page.objects.filter(pk=pages["vcd"].pk).exists()


@pytest.mark.parametrize("letters", ["d", "vd", "vc", "v", ""])
def test_deletion_asks_for_what_goes_with_it(world: Any, letters: str):
    staff, pages = world()
    child = Page.objects.create(title=f"child-{letters}", parent=pages["vcd"])
    memo = Memo.objects.create(text="memo-d", page=child)
    client = client_of(staff)
    urls = [f"{PAGES}{pages['vcd'].pk}/delete/", PAGES]
    data = {"post": "yes", "action": "delete_selected", "_selected_action": pages["vcd"].pk}
    for url in urls:
        confirm = client.post(url, data | {"post": ""}) if url == PAGES else client.get(url)
        # If something can't be deleted, Django names the model only.
        assert titles(confirm, "child") == ({child.title} if letters == "vd" else set())
        assert not titles(confirm, "memo")
        assert (b"more, which you may not view" in confirm.content) == ("d" in letters)
    client.post(PAGES, {**data, "_selected_action": pages["vcd"].pk})
    assert Memo.objects.filter(pk=memo.pk).exists() == ("d" not in letters)
    Page.objects.filter(pk=child.pk).update(title="child-d")
    Memo.objects.filter(pk=memo.pk).update(text=f"memo-{letters}")
    if "d" not in letters:
        assert client.post(urls[0], data).status_code == 403
        assert Page.objects.filter(pk=pages["vcd"].pk).exists()
        # Neither in an inline.
        page = Page.objects.create(title="page-c")
        Page.objects.filter(pk=pages["vcd"].pk).update(parent=page)
        data = {"title": "page-c", **management_form("children", 1)}
        data |= {"children-0-id": pages["vcd"].pk, "children-0-parent": page.pk}
        data |= {"children-0-title": "page-vcd", "children-0-DELETE": "on"}
        response = client.post(f"{PAGES}{page.pk}/change/", data)
        assert response.status_code == 403
        assert Page.objects.filter(pk=pages["vcd"].pk).exists()


def test_history_and_recent_actions(world: Any):
    staff, pages = world()
    client = client_of(staff)
    client.post(f"{PAGES}{pages['vc'].pk}/change/", {"title": "page-vc", "rank": 4, **NO_CHILDREN})
    entry = LogEntry.objects.get()
    assert entry.get_edited_object() == pages["vc"]
    assert client.get(f"{PAGES}{pages['vc'].pk}/history/").status_code == 200
    Page.objects.filter(pk=pages["vc"].pk).update(title="page-d")
    assert client.get(f"{PAGES}{pages['vc'].pk}/history/").status_code == 302


def test_save_as_new_leaves_the_object_as_it_is(world: Any):
    staff, pages = world()
    client = client_of(staff)
    data = {"title": "copy-v", "parent": pages["vcd"].pk, "_saveasnew": "yes", **NO_CHILDREN}
    client.post(f"{PAGES}{pages['v'].pk}/change/", data)
    assert Page.objects.get(title="copy-v").parent == pages["vcd"]
    assert Page.objects.get(pk=pages["v"].pk).title == "page-v"
    client.post(f"{PAGES}{pages['v'].pk}/change/", data | {"parent": pages["d"].pk, "title": "x-v"})
    assert not Page.objects.filter(title="x-v").exists()


@pytest.mark.parametrize("is_universal", [False, True])
def test_superusers_follow_the_setting(world: Any, settings: Any, is_universal: bool):
    settings.DJEM_UNIVERSAL_OLP = is_universal
    _, pages = world()
    superuser = User.objects.create_superuser("super")
    shown = titles(client_of(superuser).get(PAGES))
    assert shown == seen(superuser, pages.values())
    assert (shown == {page.title for page in pages.values()}) != is_universal


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "channel", ["changelist", "add", "inlines", "delete", "promote", "autocomplete"]
)
def test_queries_do_not_grow_with_the_rows(family: Any, form: str, channel: str):
    staff, parent, _ = family(form)
    client = client_of(staff)

    def count_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            match channel:
                case "changelist":
                    response = client.get(f"{PAGES}?_facets=True")
                case "add":
                    response = client.get("/select/testapp/memo/add/")
                case "inlines":
                    response = client.get(f"{PAGES}{parent.pk}/change/")
                case "delete":
                    response = client.get(f"{PAGES}{parent.pk}/delete/")
                case "promote":
                    response = post_action(client, "promote", [], across=True)
                case _:
                    url = "/select/autocomplete/?app_label=testapp&model_name=memo&field_name=page"
                    response = client.get(url)
        assert response.status_code in {200, 302}
        return len(queries)

    Page.objects.exclude(pk=parent.pk).delete()
    count_queries()  # fetches the content types
    counts = []
    for number in (3, 27):
        for _ in range(number):
            page = Page.objects.create(title="page-vcd", parent=parent)
            Memo.objects.create(text="memo-d", page=page)
        counts.append(count_queries())
    assert counts[0] == counts[1]


class PlainInline(admin.TabularInline):
    model = Page


class Overriding(ObjectPermissionsAdmin):
    def get_queryset(self, request: Any) -> Any:
        return Page.objects.all()


class Extending(ObjectPermissionsAdmin):
    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request)


class Inlines(ObjectPermissionsAdmin):
    inlines = (PlainInline,)


@admin.action(permissions=["publish"])
def publish(*_: Any) -> None: ...


class Publishing(ObjectPermissionsAdmin):
    actions = (publish, "print")

    def has_publish_permission(self, request: Any) -> bool:
        return True


class Raw(ObjectPermissionsAdmin):
    raw_id_fields = ("owner",)


class OverridingInline(ObjectPermissionsInline, admin.TabularInline):
    model = Page

    def get_queryset(self, request: Any) -> Any:
        return Page.objects.all()


class InlineOf(ObjectPermissionsAdmin):
    inlines = (OverridingInline,)


@pytest.mark.parametrize(
    ("options", "model", "ids", "text"),
    [
        (Extending, Page, [], ""),
        (Overriding, Page, ["W102"], r"Overriding.get_queryset doesn't call super\(\)"),
        (Inlines, Page, ["W104"], "PlainInline isn't an ObjectPermissionsInline"),
        (InlineOf, Page, ["W102"], "OverridingInline.get_queryset"),
        (Publishing, Page, ["E102"], "has_publish_permission takes no object"),
        (Raw, Page, ["W103"], "Objects for 'owner'"),
        (ObjectPermissionsAdmin, Product, ["W101", "W101"], "testapp.view_product"),
        (ObjectPermissionsAdmin, Gate, ["E101", "E101"], "can't list Gate: Gate has no permission"),
    ],
)
def test_system_checks(options: Any, model: Any, ids: list[str], text: str):
    site = admin.AdminSite()
    site.register(User)
    found = options(model, site).check()
    assert [each.id for each in found] == [f"djem_async.{each}" for each in ids]
    assert not found or re.search(text, found[0].msg)
    page = (ROOT / "docs" / "howto" / "admin.md").read_text(encoding="utf-8")
    assert all(f"`{each.id}`" in page for each in found)


def test_system_checks_leave_wrong_query_forms_to_others(access_methods: Any):
    access_methods(Product, _quser_can_view_product=lambda product, user: True)
    site = admin.AdminSite()
    site.register(User)
    found = ObjectPermissionsAdmin(Product, site).check()
    assert "djem_async.E006" not in [each.id for each in found]  # another check finds it
    assert "view_product" not in "".join(each.msg for each in found)


def test_sites_of_the_tests_have_no_problems(world: Any):
    world()
    assert [each for site in SITES.values() for each in check_admin(site)] == []


def check_admin(site: admin.AdminSite) -> list[Any]:
    return [each for model in (Page, User, Memo) for each in site.get_model_admin(model).check()]


@pytest.mark.parametrize("form", FORMS)
def test_large_tables_need_a_query_form(world: Any, monkeypatch: Any, form: str):
    staff, pages = world(form)
    monkeypatch.setattr(PageAdmin, "max_checked_rows", 7)
    if form == "query":
        assert titles(client_of(staff).get(PAGES)) == seen(staff, pages.values())
    else:
        with pytest.raises(NoQueryFormError, match="_quser_can_view_page"):
            client_of(staff).get(PAGES)


def test_djangos_own_user_model_works():
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.stock_admin"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
