"""Our permission classes for Django REST framework and adrf agree with `has_perm` and lists."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, Permission
from django.test import AsyncClient, Client

from djem_async.shortcuts import get_objects_for_user
from tests.frameworks.models import Article, Memo

pytestmark = pytest.mark.urls("tests.frameworks.rest_framework_views")
ACTIONS = {
    "GET": "view",
    "HEAD": "view",
    "OPTIONS": "view",
    "PUT": "change",
    "PATCH": "change",
    "DELETE": "delete",
}
ALL = [
    f"{action}_{name}"
    for name in ("article", "memo")
    for action in ("add", "view", "change", "delete", "publish")
]
# Name: the permissions at the model level, and the fields.
USERS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "author": (ALL, {}),
    "stranger": (ALL, {}),
    "without_model_level": ([], {}),
    "changes_unseen": (["change_article", "change_memo"], {}),
    "inactive": (ALL, {"is_active": False}),
    "superuser": ([], {"is_superuser": True}),
}
VISITOR = "visitor"


class Api(NamedTuple):
    """Asks one of both APIs."""

    mode: str
    client: Any

    def __call__(
        self, method: str, path: str, user: str = VISITOR, data: Any = None, **headers: str
    ) -> Any:
        if user != VISITOR:
            headers["Authorization"] = f"Bearer {user}"
        body = "" if data is None else json.dumps(data)
        arguments = method, f"/{self.mode}/{path}", body, "application/json"

        async def acall() -> Any:
            return await self.client.generic(*arguments, headers=headers)

        if self.mode == "async":
            return async_to_sync(acall)()
        return self.client.generic(*arguments, headers=headers)


@pytest.fixture(params=["sync", "async"])
def api(request: pytest.FixtureRequest, db: None) -> Api:
    return Api(request.param, Client() if request.param == "sync" else AsyncClient())


@pytest.fixture
def users(user_with: Any) -> dict[str, Any]:
    return {
        name: user_with(name, *codenames, **fields) for name, (codenames, fields) in USERS.items()
    } | {VISITOR: AnonymousUser()}


def anew(user: Any) -> Any:
    return user if user.is_anonymous else type(user).objects.get(pk=user.pk)


def passes_model_level(user: Any, perm: str) -> bool:
    """Tell whether nothing but the object may deny."""
    if anew(user).has_perm(perm):
        return True
    # What `Memo` marks.
    return perm == "frameworks.view_memo" or (
        perm in {"frameworks.add_memo", "frameworks.change_memo"} and not user.is_anonymous
    )


def refusal(user: Any) -> int:
    return 401 if user.is_anonymous else 403


def expected(user: Any, method: str, obj: Any, *, is_filtered: bool) -> int:
    name = obj._meta.model_name
    view, perm = f"frameworks.view_{name}", f"frameworks.{ACTIONS[method]}_{name}"
    if not passes_model_level(user, perm):
        return refusal(user)
    seen = anew(user).has_perm(view, obj)
    listed = get_objects_for_user(anew(user), view, type(obj)).filter(pk=obj.pk).exists()
    assert seen == listed
    if method == "OPTIONS":  # which gets no object
        return 200
    if is_filtered and not listed:
        return 404
    if anew(user).has_perm(perm, obj):
        return 204 if method == "DELETE" else 200
    return refusal(user) if seen else 404


@pytest.mark.parametrize("is_filtered", [True, False])
@pytest.mark.parametrize("model", [Article, Memo])
@pytest.mark.parametrize("method", ACTIONS)
def test_each_method_is_granted_as_a_check_grants(api, users, model, method, is_filtered):
    outcomes = set()
    for name, user in users.items():
        for author in ("author", "without_model_level"):
            for is_published in (True, False):
                obj = model.objects.create(author=users[author], is_published=is_published)
                want = expected(user, method, obj, is_filtered=is_filtered)
                label = f"{'filtered' if is_filtered else 'open'}-{model._meta.model_name}"
                data = {"author": users[author].pk, "title": "new"}
                body = data if method in {"PUT", "PATCH"} else None
                response = api(method, f"{label}/{obj.pk}/", name, body)
                assert response.status_code == want, (name, author, is_published)
                exists = model.objects.filter(pk=obj.pk).exists()
                changed = exists and model.objects.get(pk=obj.pk).title == "new"
                assert exists == (want != 204)
                assert changed == (want == 200 and body is not None)
                outcomes.add(want)
    # Some are denied, or else the table proves nothing.
    assert len(outcomes) > 1 or (method, model) == ("OPTIONS", Memo)


@pytest.mark.parametrize("model", [Article, Memo])
def test_lists_hold_what_a_check_grants_in_few_queries(
    api, users, model, django_assert_max_num_queries
):
    for author in ("author", "without_model_level"):
        for is_published in (True, False, True):
            model.objects.create(author=users[author], is_published=is_published)
    perm = f"frameworks.view_{model._meta.model_name}"
    for name, user in users.items():
        found, page = [], f"filtered-{model._meta.model_name}/"
        while page:
            # The user, the user's two kinds of permissions, the count, and the page.
            with django_assert_max_num_queries(5):
                response = api("GET", page, name)
            if not passes_model_level(user, perm):
                assert response.status_code == refusal(user)
                break
            found += [each["id"] for each in response.json()["results"]]
            page = (response.json()["next"] or "").partition(f"/{api.mode}/")[2]
        else:
            asked = anew(user)
            want = [each.pk for each in model.objects.all() if asked.has_perm(perm, each)]
            assert found == want


@pytest.mark.parametrize("model", [Article, Memo])
def test_what_is_created_is_checked_before_it_is_saved(api, users, model):
    perm = f"frameworks.add_{model._meta.model_name}"
    outcomes = set()
    for name, user in users.items():
        for author in (users["author"], users["without_model_level"]):
            unsaved = model(author=author, title="new")
            is_granted = anew(user).has_perm(perm, unsaved)
            before = model.objects.count()
            data = {"author": author.pk, "title": "new"}
            response = api("POST", f"filtered-{model._meta.model_name}/", name, data)
            assert response.status_code == (201 if is_granted else refusal(user)), name
            assert model.objects.count() == before + is_granted
            outcomes.add(response.status_code)
    assert outcomes == {201, 401, 403}


def test_a_denial_tells_why(api, users):
    article = Article.objects.create(author=users["author"], is_published=True)
    path = f"filtered-article/{article.pk}/"
    # The reason that an access method gives is public.
    assert api("DELETE", path, "author").json() == {"detail": "Published articles stay."}
    own_words = "You do not have permission to perform this action."
    assert api("PATCH", path, "stranger", {}).json() == {"detail": own_words}
    assert api("DELETE", path, "without_model_level").json() == {"detail": own_words}


@pytest.mark.parametrize("label", ["filtered-article", "open-article"])
def test_an_object_that_is_hidden_looks_like_one_that_is_missing(api, users, label):
    article = Article.objects.create(author=users["author"])
    for method in ("GET", "DELETE", "PATCH"):
        hidden = api(method, f"{label}/{article.pk}/", "stranger")
        missing = api(method, f"{label}/{article.pk + 1}/", "stranger")
        assert hidden.status_code == missing.status_code == 404
        assert hidden.content == missing.content
        assert hidden.headers == missing.headers


def test_action_has_permissions_of_its_own(api, users):
    for name, author, status in [
        ("author", "author", 200),
        ("stranger", "author", 404),
        ("without_model_level", "without_model_level", 403),
        (VISITOR, "author", 401),
    ]:
        article = Article.objects.create(author=users[author])
        response = api("POST", f"filtered-article/{article.pk}/publish/", name)
        assert response.status_code == status, name
        article.refresh_from_db()
        assert article.is_published == (status == 200)


def test_list_of_an_action_needs_the_model_level(api, users):
    Memo.objects.create(author=users["author"], title="secret")
    for name, status in [("author", 200), ("without_model_level", 403), (VISITOR, 401)]:
        assert api("GET", "filtered-memo/titles/", name).status_code == status


def test_view_that_is_not_generic(api, users):
    article = Article.objects.create(author=users["author"])
    assert api("GET", f"plain/{article.pk}/", "author").json() == "author"
    assert api("GET", f"plain/{article.pk}/", "stranger").status_code == 404


def test_root_of_the_router_is_for_users(api, users):
    assert api("GET", "", VISITOR).status_code == 401
    assert "filtered-article" in api("GET", "", "without_model_level").json()


def test_pages_and_options_offer_what_is_granted(api, users):
    article = Article.objects.create(author=users["author"], is_published=True)
    path = f"filtered-article/{article.pk}/"
    for name, may_change in [("author", True), ("stranger", False)]:
        html = api("GET", path, name, Accept="text/html").content.decode()
        assert ('data-method="PUT"' in html) == may_change
        assert 'data-method="DELETE"' not in html  # a published one
        assert ("PUT" in api("OPTIONS", path, name).json().get("actions", {})) == may_change
    html = api("GET", "filtered-article/", "author", Accept="text/html").content.decode()
    assert 'data-method="OPTIONS"' in html
    assert "POST" in html


def test_page_of_a_new_object_that_its_creator_may_not_see(api, users):
    users["author"].user_permissions.remove(Permission.objects.get(codename="view_article"))
    data = {"author": users["author"].pk, "title": "new"}
    response = api("POST", "filtered-article/", "author", data, Accept="text/html")
    assert response.status_code == 201
