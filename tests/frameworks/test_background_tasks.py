"""Tasks: a permission is checked when they run, whatever it was when they were enqueued."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from django.contrib.auth import get_user_model

from djem_async.shortcuts import get_object_for_user
from tests.frameworks.models import Post

pytestmark = pytest.mark.django_db
app = Celery("tests", set_as_current=False)
app.conf.update(task_always_eager=True)
RESULTS = {"SUCCESS": True, "SUCCESSFUL": True, "FAILURE": False, "FAILED": False}


def delete_post(user_pk: Any, post_pk: Any) -> None:
    user = get_user_model().objects.get(pk=user_pk)
    get_object_for_user(user, "frameworks.change_post", Post, pk=post_pk).delete()


def by_celery(*arguments: Any) -> tuple[str, str]:
    result = app.task(delete_post).delay(*arguments)
    return result.status, type(result.result).__name__


def by_django(*arguments: Any) -> tuple[str, str]:
    tasks = pytest.importorskip("django.tasks", reason="Django has tasks since 6.0")
    result = tasks.task(delete_post).enqueue(*arguments)
    return result.status, "".join(error.exception_class_path for error in result.errors)


@pytest.mark.parametrize("run", [by_celery, by_django])
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda owner, post, other: None, None),
        (lambda owner, post, other: owner.user_permissions.clear(), "PermissionDenied"),
        (lambda owner, post, other: Post.objects.update(owner=other), "PermissionDenied"),
        (
            lambda owner, post, other: type(owner).objects.update(is_active=False),
            "PermissionDenied",
        ),
        (lambda owner, post, other: post.delete(), "Http404"),
    ],
)
def test_permission_is_checked_when_the_task_runs(owner, other, post, run, change, error):
    assert owner.has_perm("frameworks.change_post", post)  # in the view that enqueues
    arguments = owner.pk, post.pk
    change(owner, post, other)
    status, raised = run(*arguments)
    assert RESULTS[status] is (error is None)
    assert error is None or error in raised
    assert Post.objects.exists() is (error == "PermissionDenied")
