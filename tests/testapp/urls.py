"""The views that real servers serve in tests; other tests bring a URLconf of their own."""

from django.urls import path

from . import views

urlpatterns = [
    path("sync/<str:pk>/", views.thing),
    path("async/<str:pk>/", views.async_thing),
    path("class/<str:pk>/", views.ThingView.as_view()),
    path("async-class/<str:pk>/", views.AsyncThingView.as_view()),
]
