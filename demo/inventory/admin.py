"""The admin: staff see, choose, change and delete only what checks grant."""

from django.contrib import admin

from djem_async.contrib.admin import ObjectPermissionsAdmin

from .models import Product


@admin.register(Product)
class ProductAdmin(ObjectPermissionsAdmin):
    list_display = ["code", "name", "supplier", "stock", "active"]
    list_filter = ["supplier", "active"]
    search_fields = ["code", "name"]
