"""Our classes for Django REST framework: what denies, or is an error that names the cure."""

from __future__ import annotations

from typing import Any

import adrf.generics
import adrf.serializers
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Permission
from django.core.exceptions import ImproperlyConfigured
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from rest_framework import generics, serializers, viewsets
from rest_framework.exceptions import APIException, NotAuthenticated, NotFound, PermissionDenied
from rest_framework.permissions import BasePermission, DjangoObjectPermissions, IsAuthenticated
from rest_framework.request import Request, clone_request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from djem_async.contrib.rest_framework import (
    AddPermissionMixin,
    ObjectPermissions,
    ObjectPermissionsFilter,
)
from djem_async.exceptions import NoQueryFormError
from djem_async.explain import Reason
from tests.frameworks.models import Article, Memo, Post
from tests.frameworks.rest_framework_views import Bearer, serializer

CODENAMES = [f"{each}_article" for each in ("add", "view", "change", "delete")]
NAMES = "author", "title", "is_published"
PUBLISHING = {**ObjectPermissions.perms_map, "POST": ["%(app_label)s.publish_%(model_name)s"]}


class IsStaff(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.user.is_staff)

    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return bool(request.user.is_staff)


class Raising:
    """Lets errors reach the test."""

    authentication_classes = [Bearer]
    permission_classes: list[Any] = [ObjectPermissions]
    queryset: Any = Article.objects.all()

    def handle_exception(self, error: Exception) -> Any:
        raise error


class One(Raising, generics.RetrieveUpdateDestroyAPIView):
    serializer_class = serializer(serializers.ModelSerializer, Article)


class AsyncOne(Raising, adrf.generics.RetrieveUpdateDestroyAPIView):
    serializer_class = serializer(adrf.serializers.ModelSerializer, Article)


class Listed(Raising, generics.ListCreateAPIView):
    serializer_class = serializer(serializers.ModelSerializer, Article, AddPermissionMixin)


class AsyncListed(Raising, adrf.generics.ListCreateAPIView):
    serializer_class = serializer(adrf.serializers.ModelSerializer, Article, AddPermissionMixin)


def ask(base: Any, method: str, user: Any, data: Any = None, pk: Any = None, **changes: Any) -> Any:
    view_class = type(base.__name__, (base,), changes)
    request = getattr(APIRequestFactory(), method.lower())("/", data, format="json")
    if user is not None:
        force_authenticate(request, user)
    view = view_class.as_view()
    kwargs = {} if pk is None else {"pk": pk}
    if not getattr(view_class, "view_is_async", False):
        return view(request, **kwargs)

    async def aask() -> Any:
        return await view(request, **kwargs)

    return async_to_sync(aask)()


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest, db: None) -> str:
    return request.param


@pytest.fixture
def one(mode: str) -> Any:
    return One if mode == "sync" else AsyncOne


@pytest.fixture
def many(mode: str) -> Any:
    return Listed if mode == "sync" else AsyncListed


@pytest.fixture
def ann(user_with: Any) -> Any:
    return user_with("ann", *CODENAMES)


@pytest.fixture
def bob(user_with: Any) -> Any:
    return user_with("bob", *CODENAMES)


@pytest.fixture
def article(ann: Any) -> Article:
    return Article.objects.create(author=ann, is_published=True)


def test_errors_carry_the_explanation(one, many, ann, bob, user_with, article):
    nobody = user_with("nobody")
    draft = Article.objects.create(author=ann)
    data = {"author": ann.pk, "title": "new"}
    for view, method, user, pk, body, kind, reason, perm in [
        (one, "DELETE", ann, article.pk, None, PermissionDenied, "user_method", "delete"),
        (one, "PATCH", bob, article.pk, {}, PermissionDenied, "user_method", "change"),
        (one, "GET", bob, draft.pk, None, NotFound, "user_method", "view"),
        (one, "PATCH", bob, draft.pk, {}, NotFound, "user_method", "change"),
        (one, "GET", nobody, article.pk, None, PermissionDenied, "model_level", "view"),
        (one, "GET", None, article.pk, None, NotAuthenticated, "model_level", "view"),
        (many, "POST", nobody, None, data, PermissionDenied, "model_level", "add"),
        (many, "POST", bob, None, data, DjangoPermissionDenied, "user_method", "add"),
    ]:
        with pytest.raises(kind) as caught:
            ask(view, method, user, body, pk)
        explanation = caught.value.explanation
        assert (explanation.granted, explanation.reason) == (False, Reason(reason))
        assert explanation.perm == f"frameworks.{perm}_article"
    assert Article.objects.count() == 2


def test_no_user_is_a_visitor(one, article, settings):
    settings.REST_FRAMEWORK = {"UNAUTHENTICATED_USER": None}
    with pytest.raises(NotAuthenticated):
        ask(one, "GET", None, pk=article.pk)


def test_object_of_another_model_is_denied(ann):
    request = Request(APIRequestFactory().get("/"))
    request.user = ann
    view = One(request=request, kwargs={})
    post = Post.objects.create(owner=ann)
    with pytest.raises(NotFound):
        ObjectPermissions().has_object_permission(request, view, post)


def test_view_that_overrides_how_it_denies_does_not_grant(one, bob, article):
    def permission_denied(self: Any, request: Any, **kwargs: Any) -> None:
        """Do nothing."""

    with pytest.raises(DjangoPermissionDenied):
        ask(one, "PATCH", bob, {}, article.pk, permission_denied=permission_denied)


def test_compositions_grant_no_more_than_their_parts(one, ann, bob, user_with, article):
    staff = user_with("staff", is_staff=True)
    for composed, granted in [
        (IsAuthenticated & ObjectPermissions, {ann}),
        (ObjectPermissions & IsAuthenticated, {ann}),
        (IsStaff & ObjectPermissions, set()),
        (ObjectPermissions & ~IsStaff, {ann}),
        (IsStaff | ObjectPermissions, {ann, staff}),
        ((IsStaff | ObjectPermissions) & IsAuthenticated, {ann, staff}),
        (IsStaff | (IsAuthenticated & ObjectPermissions), {ann, staff}),
    ]:
        for user in (ann, bob, staff, None):
            arguments: Any = (one, "PATCH", user, {}, article.pk)
            changes = {"permission_classes": [composed]}
            if user in granted:
                assert ask(*arguments, **changes).status_code == 200
            else:
                with pytest.raises((PermissionDenied, NotAuthenticated)):
                    ask(*arguments, **changes)


def test_compositions_that_need_a_plain_no_are_refused():
    with pytest.raises(TypeError, match=r"Write it last: `\.\.\. \| ObjectPermissions`"):
        ObjectPermissions | IsStaff
    with pytest.raises(TypeError, match="would deny everybody"):
        ~ObjectPermissions  # noqa: B018


@pytest.mark.parametrize("name", ["has_permission", "has_object_permission"])
def test_async_override_is_refused(name):
    async def method(self: Any, *args: Any) -> bool:
        return False

    with pytest.raises(TypeError, match=rf"Async.{name} is `async def`.*Declare it with `def`"):
        type("Async", (ObjectPermissions,), {name: method})


@pytest.mark.parametrize("base", [APIView, generics.GenericAPIView])
def test_view_without_a_model_is_an_error(db, ann, base):
    def get_queryset(self: Any) -> None:
        return None

    changes = {} if base is APIView else {"get_queryset": get_queryset}
    view = type("View", (Raising, base), {"queryset": None, "get": lambda *_: None, **changes})
    with pytest.raises(ImproperlyConfigured, match=r"View has no queryset.*Set `queryset`"):
        ask(view, "GET", ann)


def test_method_without_a_permission_is_not_allowed(ann):
    view = type("View", (Raising, APIView), {"trace": lambda *_: None})
    with pytest.raises(APIException) as caught:
        ask(view, "TRACE", ann)
    assert caught.value.status_code == 405


def test_list_without_query_form_is_an_error(many, ann, user_with):
    class Changeable(ObjectPermissionsFilter):
        perm_format = "%(app_label)s.change_%(model_name)s"

    with pytest.raises(NoQueryFormError, match="_quser_can_change_article"):
        ask(many, "GET", ann, filter_backends=[Changeable])


class Unchecked(ObjectPermissions):
    perms_map = {**ObjectPermissions.perms_map, "POST": []}


def test_creation_without_a_check_is_an_error(mode, many, ann, user_with):
    data = {"author": ann.pk, "title": "new"}
    package = serializers if mode == "sync" else adrf.serializers
    plain = {"serializer_class": serializer(package.ModelSerializer, Article)}
    for user in (ann, user_with("nobody"), user_with("root", is_superuser=True)):
        with pytest.raises(ImproperlyConfigured, match="List AddPermissionMixin first"):
            ask(many, "POST", user, data, **plain)
        # The same below the URL of a parent.
        with pytest.raises(ImproperlyConfigured, match="List AddPermissionMixin first"):
            ask(many, "POST", user, data, pk=1, **plain)
    view = type("View", (Raising, APIView), {"post": lambda *_: None})
    with pytest.raises(ImproperlyConfigured, match="List AddPermissionMixin first"):
        ask(view, "POST", ann, data)
    # A view may check by itself.
    response = ask(many, "POST", ann, data, permission_classes=[Unchecked], **plain)
    assert response.status_code == 201
    # Nothing but the model level decides about posts.
    other = {"queryset": Post.objects.all(), "serializer_class": PostSerializer}
    if mode == "sync":
        with pytest.raises(PermissionDenied):
            ask(many, "POST", ann, {"owner": ann.pk}, **other)
        assert ask(many, "POST", user_with("p", "add_post"), {"owner": ann.pk}, **other).data


class PostSerializer(serializers.ModelSerializer):
    class Meta:
        model = Post
        fields = ["owner"]


def test_creation_below_a_parent_without_a_check_is_an_error(ann, bob):
    class Below(Raising, generics.GenericAPIView):
        """Its URL names a parent by the argument that usually names the object."""

        serializer_class = One.serializer_class

        def post(self, request: Any, pk: int) -> Response:
            form = self.get_serializer(data=request.data)
            form.is_valid(raise_exception=True)
            form.save()
            return Response(form.data)

    class Publish(Below):
        permission_classes = [type("Publishing", (ObjectPermissions,), {"perms_map": PUBLISHING})]

        def post(self, request: Any, pk: int) -> Response:
            return Response(self.get_object().title)

    data = {"author": ann.pk, "title": "of somebody else"}
    with pytest.raises(ImproperlyConfigured, match="AddPermissionMixin"):
        ask(Below, "POST", bob, data, pk=1)
    assert not Article.objects.exists()
    checked = {"serializer_class": Listed.serializer_class}
    with pytest.raises(DjangoPermissionDenied):
        ask(Below, "POST", bob, data, pk=1, **checked)
    assert ask(Below, "POST", ann, data, pk=1, **checked).data["title"] == "of somebody else"

    article = Article.objects.get()
    Permission.objects.get(codename="publish_article").user_set.add(ann, bob)
    ann, bob = (type(each).objects.get(pk=each.pk) for each in (ann, bob))  # nothing is cached
    assert ask(Publish, "POST", ann, pk=article.pk).data == "of somebody else"
    with pytest.raises(NotFound):
        ask(Publish, "POST", bob, pk=article.pk)


def test_creation_of_another_model_without_a_check_is_an_error(mode, many, ann, bob):
    package = serializers if mode == "sync" else adrf.serializers
    plain = {"serializer_class": serializer(package.ModelSerializer, Article)}
    data = {"author": ann.pk, "title": "of somebody else"}
    Permission.objects.get(codename="add_post").user_set.add(bob)
    with pytest.raises(ImproperlyConfigured, match="Article has an access method"):
        ask(many, "POST", bob, data, queryset=Post.objects.all(), **plain)
    assert not Article.objects.exists()


def test_view_that_may_not_fetch_its_object_needs_the_model_level(ann, user_with):
    class Titles(Raising, generics.GenericAPIView):
        queryset = Memo.objects.all()

        def get(self, request: Any, pk: int) -> Response:
            return Response([memo.title for memo in self.get_queryset()])

    memo = Memo.objects.create(author=ann, title="secret")
    with pytest.raises(PermissionDenied):
        ask(Titles, "GET", user_with("nobody"), pk=memo.pk)
    assert ask(Titles, "GET", user_with("reader", "view_memo"), pk=memo.pk).data == ["secret"]


def test_mixin_that_is_listed_too_late_is_refused(mode):
    package = serializers if mode == "sync" else adrf.serializers
    with pytest.raises(TypeError, match="List it ahead of BaseSerializer"):
        type("Late", (package.ModelSerializer, AddPermissionMixin), {})


def test_values_of_the_view_are_checked(mode, many, ann, bob):
    def perform_create(self: Any, serializer: Any) -> None:
        serializer.save(author=ann, readers=[bob])

    async def perform_acreate(self: Any, serializer: Any) -> None:
        await serializer.asave(author=ann, readers=[bob])

    changes = {"perform_create": perform_create, "perform_acreate": perform_acreate}
    for user, is_granted in [(ann, True), (bob, False)]:
        data = {"author": user.pk, "title": "new"}
        if is_granted:
            created = ask(many, "POST", user, data, **changes).data["id"]
            assert list(Article.objects.get(pk=created).readers.all()) == [bob]
        else:
            with pytest.raises(DjangoPermissionDenied):
                ask(many, "POST", user, data, **changes)
    assert Article.objects.count() == 1


class ReaderSerializer(serializers.Serializer):
    name = serializers.CharField()


def nested(mode: str, **methods: Any) -> Any:
    """Make a serializer that creates readers as well, by a method of its own."""
    package = serializers if mode == "sync" else adrf.serializers
    base = serializer(package.ModelSerializer, Article, AddPermissionMixin)

    class Meta(base.Meta):
        fields = [*NAMES, "new_readers"]

    def create(self: Any, validated_data: Any) -> Any:
        readers = validated_data.pop("new_readers")
        made = Article.objects.create(**validated_data)
        for reader in readers:
            made.readers.create(username=reader["name"])
        made.new_readers = readers
        return made

    async def acreate(self: Any, validated_data: Any) -> Any:
        return await sync_to_async(create)(self, validated_data)

    children = ReaderSerializer(many=True)
    return type(
        "Nested",
        (base,),
        {"Meta": Meta, "new_readers": children, "create": create, "acreate": acreate, **methods},
    )


def test_nested_creation_is_checked_before_anything_is_saved(mode, many, ann, bob):
    def build_object(self: Any, validated_data: Any) -> Any:
        return Article(**{name: validated_data[name] for name in NAMES if name in validated_data})

    data = {"author": ann.pk, "title": "new", "new_readers": [{"name": "carl"}]}
    with pytest.raises(
        ImproperlyConfigured, match=r"Override its `build_object\(validated_data\)`"
    ):
        ask(many, "POST", ann, data, serializer_class=nested(mode))
    view = {"serializer_class": nested(mode, build_object=build_object)}
    with pytest.raises(DjangoPermissionDenied):
        ask(many, "POST", bob, data, **view)
    assert not Article.objects.exists()
    assert ask(many, "POST", ann, data, **view).status_code == 201
    assert Article.objects.get().readers.get().username == "carl"


@pytest.mark.parametrize("is_by_hand", [False, True])
def test_creating_many_at_once_is_an_error(mode, many, ann, is_by_hand):
    def get_serializer(self: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs["context"] = self.get_serializer_context()
        if not is_by_hand:
            return self.serializer_class(*args, **kwargs, many=True)
        package = serializers if mode == "sync" else adrf.serializers
        return package.ListSerializer(*args, **kwargs, child=self.serializer_class())

    data = [{"author": ann.pk, "title": "new"}]
    with pytest.raises(ImproperlyConfigured, match="Check `add` on each of them"):
        ask(many, "POST", ann, data, get_serializer=get_serializer)


def test_serializer_without_a_request_is_an_error(mode, many, ann):
    new = many.serializer_class(data={"author": ann.pk, "title": "new"})
    assert new.is_valid()
    with pytest.raises(ImproperlyConfigured, match="doesn't know who adds the object"):
        new.save() if mode == "sync" else async_to_sync(new.asave)()
    # What exists has been checked by the view.
    article = Article.objects.create(author=ann)
    changed = many.serializer_class(article, {"author": ann.pk, "title": "changed"})
    assert changed.is_valid()
    assert (changed.save() if mode == "sync" else async_to_sync(changed.asave)()).title == "changed"


@pytest.mark.parametrize("required", [DjangoObjectPermissions.perms_map, Unchecked.perms_map])
def test_visitors_are_denied_where_no_permission_is_required(one, many, ann, article, required):
    permission = type("Own", (ObjectPermissions,), {"perms_map": required})
    public = type("Public", (permission,), {"authenticated_users_only": False})
    data = {"author": ann.pk, "title": "new"}
    ways: list[Any] = [(many, "POST", data, None)]
    if required is not Unchecked.perms_map:
        ways = [(one, "GET", None, article.pk), (many, "GET", None, None)]
    for view, method, body, pk in ways:
        with pytest.raises(NotAuthenticated):
            ask(view, method, None, body, pk, permission_classes=[permission])
        if method == "GET":
            for user, allowed in [(None, public), (ann, permission)]:
                found = ask(view, method, user, body, pk, permission_classes=[allowed])
                assert found.status_code == 200
    assert Article.objects.count() == 1


def test_no_object_is_not_found(ann, article):
    def get_object(self: Any) -> Any:
        self.check_object_permissions(self.request, None)

    for method in ("GET", "PATCH", "DELETE"):
        with pytest.raises(NotFound):
            ask(One, method, ann, {}, article.pk, get_object=get_object)


def test_put_that_creates_is_checked(ann, user_with):
    """Also where access methods grant without the model level."""
    nobody = user_with("nobody")

    def put(self: Any, request: Any, pk: int) -> Response:
        self.check_permissions(clone_request(request, "POST"))
        form = self.get_serializer(data=request.data)
        form.is_valid(raise_exception=True)
        form.save(pk=pk)
        return Response(form.data)

    def create(user: Any, *bases: Any) -> Any:
        kind = serializer(serializers.ModelSerializer, Memo, *bases)
        names = {"queryset": Memo.objects.all(), "serializer_class": kind, "put": put}
        view = type("View", (Raising, viewsets.ModelViewSet), names)
        request = APIRequestFactory().put("/", {"author": ann.pk, "title": "new"}, format="json")
        force_authenticate(request, user)
        return view.as_view({"put": "put"}, detail=True)(request, pk=1)

    with pytest.raises(ImproperlyConfigured, match="List AddPermissionMixin first"):
        create(nobody)
    Permission.objects.get(codename="add_memo").user_set.add(ann, nobody)
    nobody, ann = (type(each).objects.get(pk=each.pk) for each in (nobody, ann))
    with pytest.raises(DjangoPermissionDenied):
        create(nobody, AddPermissionMixin)
    assert not Memo.objects.exists()
    assert create(ann, AddPermissionMixin).status_code == 200


def test_list_below_a_parent_requires_the_model_level(ann):
    """Access methods that grant without it are only asked about objects that a view gets."""

    class Below(Raising, generics.GenericAPIView):
        queryset = Memo.objects.all()
        serializer_class = serializer(serializers.ModelSerializer, Memo)

        def get(self, request: Any, pk: int) -> Response:
            return Response(self.get_serializer(self.get_queryset(), many=True).data)

        def put(self, request: Any, pk: int) -> Response:
            return Response(self.get_queryset().update(title="new"))

    Memo.objects.create(author=ann, title="private")
    for method in ("GET", "PUT"):
        with pytest.raises(NotAuthenticated):
            ask(Below, method, None, pk=1)
        with pytest.raises(PermissionDenied):
            ask(Below, method, ann, pk=1)


def test_serializer_within_another_saves_nothing_unchecked(mode, many, ann):
    kind = many.serializer_class
    fields = {"article": kind(), "articles": kind(many=True)}
    data = {"author": ann.pk, "title": "new"}
    outers: list[Any] = [
        (serializers.ListSerializer(child=kind(), data=[data]), "ListSerializer"),
        *(
            (type("Outer", (serializers.Serializer,), {name: field})(data={name: value}), outer)
            for (name, field), value, outer in zip(
                fields.items(), [data, [data]], ["Outer", "ListSerializer"], strict=True
            )
        ),
    ]
    for outer, name in outers:
        with pytest.raises(ImproperlyConfigured, match=rf"Serializer is part of {name}, which"):
            outer.is_valid()
    shown = type("Outer", (serializers.Serializer,), fields)
    article = Article(author=ann, title="shown")
    found = shown({"article": article, "articles": [article]}).data
    assert [found["article"]["title"], found["articles"][0]["title"]] == ["shown", "shown"]


def test_changes_add_nothing(mode, many, ann, article):
    theirs = Article.objects.create(author=ann, title="theirs")

    class Writable(many.serializer_class):  # type: ignore[misc]
        pk = serializers.IntegerField(source="id", required=False)

        class Meta(many.serializer_class.Meta):
            fields = ["pk", "title"]

    for instance, data, message in [
        (Article(author=ann), {"title": "new"}, "an instance that isn't saved yet"),
        (article, {"title": "new", "pk": theirs.pk}, "would change id, which is the primary key"),
        (article, {"title": "new", "pk": 0}, "would change id, which is the primary key"),
        (article, {"title": "new", "pk": article.pk}, None),
    ]:
        form = Writable(instance, data)
        assert form.is_valid()
        save = form.save if mode == "sync" else async_to_sync(form.asave)
        if message is None:
            assert save().title == "new"
        else:
            with pytest.raises(ImproperlyConfigured, match=message):
                save()
    assert set(Article.objects.values_list("pk", "title")) == {
        (article.pk, "new"),
        (theirs.pk, "theirs"),
    }
