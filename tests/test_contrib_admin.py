"""`djem_async.contrib.admin` over HTTP: every channel of Django's admin, against `has_perm`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.messages import get_messages
from django.db.models import Q
from django.test import Client

from tests.admin_sites import SITES
from tests.conftest import grant
from tests.testapp.models import Memo, Page, User

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ACTIONS = "vcd"
NAMES = {"v": "view", "c": "change", "d": "delete"}
# What may be done with an object is written in its name.
LETTERS = ["", "v", "c", "d", "vc", "vd", "cd", "vcd"]
ALL = "vcd"
FORMS = ["query", "python"]
PAGES = "/select/testapp/page/"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _admin(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.admin_sites"
    settings.DJEM_OPEN_BY_DEFAULT = False
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    processors = ["auth.context_processors.auth", "messages.context_processors.messages"]
    settings.TEMPLATES = [
        {
            **settings.TEMPLATES[0],
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    *(f"django.contrib.{each}" for each in processors),
                ]
            },
        }
    ]


def rules(model: type, field: str, form: str) -> dict[str, Any]:
    """Make access methods that go by the letters at the end of a name."""
    made: dict[str, Any] = {}
    for letter, name in NAMES.items():
        codename = f"{name}_{model._meta.model_name}"

        def query(cls: type, user: User, letter: str = letter) -> Q:
            return Q(**{f"{field}__iregex": rf"-[vcd]*{letter}[vcd]*$"})

        def python(self: Any, user: User, letter: str = letter) -> bool:
            return letter in getattr(self, field).rpartition("-")[2]

        made |= (
            {f"_quser_can_{codename}": classmethod(query)}
            if form == "query"
            else {f"_user_can_{codename}": python}
        )
    return made


@pytest.fixture
def world(access_methods: Callable[..., None]) -> Callable[..., tuple[User, dict[str, Page]]]:
    """Make a member of staff, rules in a form, and a page and a user for each set of letters."""

    def make(form: str = "query", actions: str = ALL) -> tuple[User, dict[str, Page]]:
        access_methods(Page, **rules(Page, "title", form))
        access_methods(User, **rules(User, "username", form))
        access_methods(Memo, **rules(Memo, "text", form))
        staff = User.objects.create_user("staff", is_staff=True)
        grant(staff, *(f"testapp.{each}_memo" for each in ["add", *NAMES.values()]))
        grant(staff, "testapp.view_user", "testapp.add_page", "testapp.read_page")
        grant(staff, *(f"testapp.{NAMES[each]}_page" for each in actions))
        for letters in LETTERS:
            User.objects.create_user(f"user-{letters}")
        return staff, {each: Page.objects.create(title=f"page-{each}") for each in LETTERS}

    return make


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client


def granted(user: User, pages: Iterable[Page], *actions: str) -> set[str]:
    """Return the titles of the pages for which `has_perm` grants one of some actions."""
    fresh = User.objects.get(pk=user.pk)
    perms = [f"testapp.{action}_page" for action in actions]
    return {
        page.title
        for page in Page.objects.filter(pk__in=[each.pk for each in pages])
        if any(fresh.has_perm(perm, page) for perm in perms)
    }


def seen(user: User, pages: Iterable[Page]) -> set[str]:
    return granted(user, pages, "view", "change")


def titles(response: Any, word: str = "page") -> set[str]:
    assert response.status_code == 200, response
    text = response.content.decode().replace("\\u002D", "-")
    return set(re.findall(rf"\b{word}-[vcd]*(?![\w-])", text))


def messages_of(response: Any) -> str:
    return " ".join(map(str, get_messages(response.wsgi_request)))


def management_form(prefix: str, count: int, new: int = 0) -> dict[str, Any]:
    return {f"{prefix}-TOTAL_FORMS": count + new, f"{prefix}-INITIAL_FORMS": count}


NO_CHILDREN = management_form("children", 0)


# What is shown and offered.

LISTS = {
    "changelist": PAGES,
    "popup": f"{PAGES}?_popup=1&_to_field=id",
    "search": f"{PAGES}?q=page",
    "all": f"{PAGES}?all=",
    "facets": f"{PAGES}?_facets=True",
    "filter": f"{PAGES}?ranked=no",
    "autocomplete": "/select/autocomplete/?app_label=testapp&model_name=memo&field_name=page",
    "choices": "/select/testapp/memo/add/",
    "radio": "/radio/testapp/memo/add/",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("actions", ["vcd", "v", "c", "d", ""])
def test_lists_hold_what_checks_grant(world: Any, form: str, actions: str):
    staff, pages = world(form, actions)
    client, expected = client_of(staff), seen(staff, pages.values())
    for name, url in LISTS.items():
        response = client.get(url)
        if response.status_code == 403:
            # Nothing may be seen at the model level.
            assert not set(actions) & {"v", "c"}
            assert not url.endswith("add/")
        else:
            assert titles(response) == expected, name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("actions", ["vcd", "v", "c", "d"])
def test_pages_of_objects_open_as_far_as_checks_grant(world: Any, form: str, actions: str):
    staff, pages = world(form, actions)
    client = client_of(staff)
    may_change, may_delete = (granted(staff, pages.values(), each) for each in ["change", "delete"])
    may_see = seen(staff, pages.values())
    assert may_see or actions == "d"
    for page in pages.values():
        urls = [f"{PAGES}{page.pk}/{each}/" for each in ["change", "history", "delete"]]
        is_seen = page.title in may_see
        by_get = [client.get(url) for url in urls]
        ok = [response.status_code == 200 for response in by_get]
        assert ok == [is_seen, is_seen, is_seen and page.title in may_delete]
        named = [titles(each) for each in by_get if each.status_code == 200]
        assert all(each <= may_see for each in named)
        if is_seen:
            assert (b'name="_save"' in by_get[0].content) == (page.title in may_change)
        data = {"title": "changed", **NO_CHILDREN}
        response = client.post(urls[0], data)
        page.refresh_from_db()
        is_changed = page.title == "changed"
        Page.objects.filter(pk=page.pk).update(title=f"page-{letters_of(pages, page)}")
        assert is_changed == (f"page-{letters_of(pages, page)}" in may_change), response
        client.post(urls[2], {"post": "yes"})
        page.title = f"page-{letters_of(pages, page)}"
        is_deleted = not Page.objects.filter(pk=page.pk).exists()
        assert is_deleted == (page.title in may_delete & may_see)


def letters_of(pages: dict[str, Page], page: Page) -> str:
    return next(letters for letters, each in pages.items() if each is page)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("form", FORMS)
def test_only_what_may_be_seen_can_be_chosen(world: Any, site: str, form: str):
    staff, pages = world(form)
    client = client_of(staff)
    for page in pages.values():
        data = {"text": "memo-vc", "page": page.pk}
        response = client.post(f"/{site}/testapp/memo/add/", data)
        is_made = Memo.objects.filter(page=page).exists()
        assert is_made == (page.title in seen(staff, pages.values()))
        # The choice is not named on the page that reports it as wrong, nor if a URL makes it.
        if not is_made:
            assert page.title not in titles(response)
        response = client.get(f"/{site}/testapp/memo/add/?page={page.pk}")
        assert (page.title in titles(response)) == is_made


def test_objects_that_are_not_saved_are_denied(world: Any, rf: Any):
    request = rf.get("/")
    request.user, _ = world()
    options = SITES["select"].get_model_admin(Page)
    assert options.has_change_permission(request)
    assert not options.has_change_permission(request, Page(title="page-vcd"))


def test_objects_that_do_not_exist_have_no_name(world: Any):
    staff, _ = world()
    assert not titles(client_of(staff).get("/raw/testapp/memo/add/?page=0"))


@pytest.mark.parametrize("site", SITES)
def test_saving_keeps_what_the_user_may_not_choose(world: Any, site: str):
    staff, pages = world()
    hidden, other = pages["d"], pages[""]
    memo = Memo.objects.create(text="memo-vc", page=hidden)
    client = client_of(staff)
    url = f"/{site}/testapp/memo/{memo.pk}/change/"
    assert titles(client.get(url)) - seen(staff, pages.values()) == {hidden.title}
    for page, stored in [(hidden, hidden), (other, hidden), (pages["v"], pages["v"])]:
        client.post(url, {"text": "memo-vc", "page": page.pk})
        memo.refresh_from_db()
        assert memo.page == stored


def test_many_to_many_choices(world: Any):
    staff, pages = world()
    page, users = pages["vc"], {user.username: user for user in User.objects.all()}
    page.editors.add(users["user-d"])
    client = client_of(staff)
    url = f"{PAGES}{page.pk}/change/"
    visible = {f"user-{each}" for each in LETTERS if "v" in each}
    assert titles(client.get(f"{PAGES}add/"), "user") == visible
    # What is chosen already can be kept.
    assert titles(client.get(url), "user") == visible | {"user-d"}
    for name in ["user-", "user-c", "user-v"]:
        data = {"title": "page-vc", "editors": [users["user-d"].pk, users[name].pk]}
        client.post(url, {**data, **NO_CHILDREN})
        assert page.editors.contains(users[name]) == (name in visible)
        assert page.editors.contains(users["user-d"])


def test_filters_name_what_may_be_seen(world: Any):
    staff, pages = world()
    for letters in LETTERS:
        child = Page.objects.create(title="child-v", parent=pages[letters])
        child.owner = User.objects.get(username=f"user-{letters}")
        child.save()
        child.editors.add(child.owner)
    response = client_of(staff).get(f"{PAGES}?_facets=True")
    specs = {spec.title: spec for spec in response.context["cl"].filter_specs}
    shown = {
        title: {re.sub(r" \(\d+\)$", "", str(each["display"])) for each in spec.choices(cl)}
        for cl in [response.context["cl"]]
        for title, spec in specs.items()
    }
    users = {f"user-{letters}" for letters in LETTERS if "v" in letters}
    pages_seen = seen(staff, pages.values()) | {"child-v"}
    assert shown["parent"] - {"All", "-"} == pages_seen
    assert shown["username"] - {"All", "-"} == users
    assert shown["editors"] - {"All", "-"} == users
    assert shown["ranked"] == {"All", "Ranked", "Not ranked"}
    assert titles(response, "user") == users


def test_dates_are_those_of_visible_objects(world: Any):
    staff, _ = world()
    for year, letters in enumerate(LETTERS, 2001):
        user = User.objects.get(username=f"user-{letters}")
        User.objects.filter(pk=user.pk).update(date_joined=f"{year}-06-01T00:00Z")
    response = client_of(staff).get("/select/testapp/user/")
    years = set(re.findall(r"date_joined__year=(\d+)", response.content.decode()))
    assert years == {str(year) for year, letters in enumerate(LETTERS, 2001) if "v" in letters}
