"""The admin with Django's own user model, which cannot be had beside another in one process.

`tests.test_contrib_admin_changes` runs it: ``python -m tests.stock_admin``.
"""

import re

import django
from django.conf import settings
from django.core.management import call_command

PROCESSORS = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]
settings.configure(
    SECRET_KEY="only for tests",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "django.contrib.admin.apps.SimpleAdminConfig",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "djem_async",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": PROCESSORS},
        }
    ],
    AUTHENTICATION_BACKENDS=["djem_async.auth.ModelBackend"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    ALLOWED_HOSTS=["testserver"],
    USE_TZ=True,
    ROOT_URLCONF=__name__,
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.models import Q  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.urls import path  # noqa: E402

from djem_async.contrib.admin import ObjectPermissionsAdmin  # noqa: E402


class GroupAdmin(ObjectPermissionsAdmin):
    list_display = ("name",)


site = admin.AdminSite()
site.register(Group, GroupAdmin)
urlpatterns = [path("", site.urls)]


def main() -> None:
    call_command("migrate", verbosity=0)
    for action in ("view", "change", "delete"):
        form = classmethod(lambda cls, user, action=action: Q(name__contains=action))
        setattr(Group, f"_quser_can_{action}_group", form)
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.all())
    client = Client()
    client.force_login(staff)
    counts = []
    for number in (1, 10):
        for each in range(number):
            for name in ("view", "change", "delete", "view and delete"):
                Group.objects.create(name=f"{name} {number} {each}")
        with CaptureQueriesContext(connection) as queries:
            page = client.get("/auth/group/").content.decode()
        counts.append(len(queries))
    assert counts[0] - counts[1] in {0, 1}, counts  # the content type is fetched once
    shown = set(re.findall(r">([a-z ]+) \d+ \d<", page))
    assert shown == {"view", "change", "view and delete"}, shown
    deletable, other = (Group.objects.filter(name__startswith=each) for each in ("view and", "ch"))
    for groups, status in [(deletable, 302), (other, 403)]:
        url = f"/auth/group/{groups[0].pk}/delete/"
        assert client.post(url, {"post": "yes"}).status_code == status
    assert (deletable.count(), other.count()) == (10, 11)


if __name__ == "__main__":
    main()
