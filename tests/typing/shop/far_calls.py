"""Permissions of a model that the module does not import."""

from .models import Supplier, User


def far(user: User, supplier: Supplier) -> None:
    user.has_perm("stock.use_shelf", supplier)  # E: arg-type "expected "Shelf | None""
    user.has_perm("stock.use_shelf")
