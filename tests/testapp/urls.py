"""No URLs: tests call views with requests of their own, or bring a URLconf."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
