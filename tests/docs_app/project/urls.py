"""The URLs of the plain project."""

urlpatterns = []
