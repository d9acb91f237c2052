"""Django finds the models here, and so mypy's plugins know their permissions."""

from .base import Category, Perm, Product, Supplier, User
from .right import Crate, Parcel, RefundedOrder, Shipment
from .wrong import Box, Label, Pallet

__all__ = [
    "Box",
    "Category",
    "Crate",
    "Label",
    "Pallet",
    "Parcel",
    "Perm",
    "Product",
    "RefundedOrder",
    "Shipment",
    "Supplier",
    "User",
]
