"""The addresses of the demo."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from inventory import explain, live, views
from inventory.api import ProductViewSet
from rest_framework.routers import DefaultRouter

api = DefaultRouter()
api.register("products", ProductViewSet)

urlpatterns = [
    path("", views.home, name="home"),
    path("sign-in/", views.sign_in, name="sign_in"),
    path("sign-out/", views.sign_out, name="sign_out"),
    path("reset/", views.reset, name="reset"),
    path("products/", views.product_list, name="product_list"),
    path("products/<int:product>/", views.product_detail, name="product"),
    path("products/<int:product>/clear-stock/", views.clear_stock, name="clear_stock"),
    path("products/<int:product>/discontinue/", views.discontinue, name="discontinue"),
    path("products/<int:product>/delete/", views.delete, name="delete"),
    path("products/<int:product>/delete/by-class/", views.Delete.as_view(), name="delete_by_class"),
    path("products/<int:product>/permissions/", views.product_json, name="product_json"),
    path("products/<int:product>/stock/", live.stock_page, name="stock"),
    path("products/<int:product>/stock/sell/", live.sell, name="sell"),
    path("products/<int:product>/stock/step-down/", live.step_down, name="step_down"),
    path("explain/", explain.explain, name="explain"),
    path("admin/", admin.site.urls),
    path("api/", include(api.urls)),
]
if settings.DEBUG:
    urlpatterns += [path("__debug__/", include("debug_toolbar.urls"))]

handler403 = "inventory.errors.refused"
handler404 = "inventory.errors.not_found"
