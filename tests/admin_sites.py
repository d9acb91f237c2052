"""Sites of Django's admin with `djem_async.contrib.admin`, and their URLs.

Each of the sites lets the user choose objects in another way.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.urls import path

from djem_async.contrib.admin import ObjectPermissionsAdmin, ObjectPermissionsInline
from tests.testapp.models import Memo, Page, Thing, User


class RankFilter(admin.SimpleListFilter):
    title = "ranked"
    parameter_name = "ranked"

    def lookups(self, request: Any, model_admin: Any) -> Any:
        return [("yes", "Ranked"), ("no", "Not ranked")]

    def queryset(self, request: Any, queryset: Any) -> Any:
        return queryset.filter(rank__isnull=self.value() == "no") if self.value() else None


class Optional:
    """Lets all fields be empty."""

    def formfield_for_dbfield(self, *args: Any, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(*args, **kwargs)  # type: ignore[misc]
        if field is not None:
            field.required = False
        return field


class ChildInline(Optional, ObjectPermissionsInline, admin.TabularInline):
    model = Page
    fields = ("title", "rank")
    extra = 1


class UserAdmin(ObjectPermissionsAdmin):
    ordering = ("username",)
    search_fields = ("username",)
    fields = ("username",)
    date_hierarchy = "date_joined"


@admin.action(permissions=["change"])
def promote(model_admin: Any, request: Any, queryset: Any) -> None:
    queryset.update(rank=7)


@admin.action(permissions=["read"])
def read(model_admin: Any, request: Any, queryset: Any) -> None:
    queryset.update(rank=8)


@admin.action
def count(model_admin: Any, request: Any, queryset: Any) -> None:
    model_admin.message_user(request, f"{queryset.count()} selected")


class PageAdmin(Optional, ObjectPermissionsAdmin):
    ordering = ("title",)
    list_display = ("title", "rank")
    list_editable = ("rank",)
    list_filter = (
        "parent",
        "owner__username",
        ("editors", admin.RelatedOnlyFieldListFilter),
        RankFilter,
        "rank",
        ("rank", admin.EmptyFieldListFilter),
    )
    search_fields = ("title",)
    fields = ("title", "rank", "owner", "parent", "editors")
    inlines = (ChildInline,)
    actions = (promote, read, count)
    save_as = True

    def has_read_permission(self, request: Any, obj: Any = None) -> bool:
        user = request.user
        return user.has_perm("testapp.read_page", *([] if obj is None else [obj]))


def make_site(name: str, **options: Any) -> admin.AdminSite:
    site = admin.AdminSite(name)
    site.register(User, UserAdmin)
    site.register(Page, PageAdmin)
    site.register(Memo, ObjectPermissionsAdmin, **options)
    # These have Django's own options.
    site.register([Thing, Group])
    return site


SITES = {
    "select": make_site("select"),
    "radio": make_site("radio", radio_fields={"page": admin.VERTICAL}),
    "raw": make_site("raw", raw_id_fields=["page"]),
    "autocomplete": make_site("autocomplete", autocomplete_fields=["page"]),
}
urlpatterns = [path(f"{name}/", site.urls) for name, site in SITES.items()]
