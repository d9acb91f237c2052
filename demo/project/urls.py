"""The addresses of the demo."""

from django.urls import path
from inventory import views

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
    path("api/products/<int:product>/", views.product_json, name="product_json"),
]

handler403 = "inventory.errors.refused"
handler404 = "inventory.errors.not_found"
