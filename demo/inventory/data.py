"""The data of the demo: 16 suppliers, 480 products, and 13 users with different rights.

Primary keys are fixed, so that every start, and every "reset data", shows the same.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from django.contrib.auth.models import Group, Permission
from django.db import transaction

from .models import Product, Supplier, User

# Each supplier with six products, and each of those comes in every variant.
SUPPLIERS: Final = {
    "Alder Hand Tools": "Claw hammer, Rubber mallet, Wood chisel, Block plane, Pry bar, Hand saw",
    "Birch & Daughters": "Oak shelf, Pine board, Beech dowel, Ash handle, Birch panel, Larch slat",
    "Copperline Electric": "Wall socket, Dimmer, Junction box, Cable reel, Fuse, Light switch",
    "Delta Fasteners": "Wood screw, Hex bolt, Wall plug, Washer, Threaded rod, Wing nut",
    "Evergreen Garden": "Hand trowel, Pruning shears, Watering can, Seed tray, Rake, Garden hose",
    "Foundry Nine": "Cast hook, Hinge, Door handle, Coat rack, Letter box, House number",
    "Granite Works": "Paving slab, Kerb stone, Gravel, Window sill, Stepping stone, Edging",
    "Harbour Paints": "Wall paint, Primer, Wood stain, Varnish, Floor paint, Lacquer",
    "Iris Lighting": "Desk lamp, Ceiling lamp, Spotlight, LED strip, Floor lamp, Lantern",
    "Juniper Textiles": "Dust sheet, Work gloves, Apron, Canvas bag, Tarpaulin, Rope",
    "Kestrel Ladders": "Step ladder, Loft ladder, Trestle, Platform, Roof hook, Work bench",
    "Lumen Solar": "Solar panel, Charge controller, Battery, Inverter, Roof rail, Cable set",
    "Marlow Plumbing": "Basin tap, Copper pipe, Ball valve, Siphon, Shower hose, Pipe clip",
    "Northwind Heating": "Radiator, Thermostat, Convector, Towel rail, Air vent, Flue pipe",
    "Orchard Kitchens": "Cutting board, Drawer runner, Sink, Worktop, Cabinet knob, Plinth",
    "Pinnacle Safety": "Hard hat, Safety glasses, Ear defenders, Dust mask, Knee pads, Harness",
}
VARIANTS: Final = ("small", "medium", "large", "value pack", "trade")
FIRST_PRODUCT: Final = 1001
# The product and the user of the logs in the documentation.
EXAMPLE_PRODUCT: Final = 1375
EXAMPLE_USER: Final = 54

GROUPS: Final = {
    "Buyers": (
        "view_product",
        "view_supplier",
        "change_product",
        "discontinue_product",
        "delete_product",
        "manage_supplier",
    ),
    "Stock clerks": ("view_product", "change_product"),
    "Auditors": ("view_product",),
}


class Person(NamedTuple):
    """A user; ``suppliers`` are those that they manage, counted from 1.

    Those with a group or all permissions are staff: they may use the admin, and ask for reasons.
    """

    pk: int
    username: str
    group: str | None
    suppliers: tuple[int, ...] = ()
    is_superuser: bool = False
    is_active: bool = True


# In the order in which the sign-in page offers them.
PEOPLE: Final = (
    Person(EXAMPLE_USER, "user.name", "Buyers", (1, 13)),
    Person(1, "ada.lovelace", None, is_superuser=True),
    Person(2, "mira.okafor", "Buyers", (1, 2, 3, 4)),
    Person(3, "jonas.weber", "Buyers", (5, 6, 7, 8)),
    Person(4, "lucia.romero", "Buyers", (9, 10, 11, 12)),
    Person(5, "priya.nair", "Buyers", (13, 14, 15, 16)),
    Person(6, "tomas.novak", "Buyers", (1, 5, 9)),
    Person(7, "hana.sato", "Buyers"),
    # In charge of suppliers, but without the permission at the model level.
    Person(8, "olga.petrova", "Stock clerks", (2, 3)),
    Person(9, "ben.carter", "Stock clerks"),
    Person(10, "fatima.zahra", "Auditors"),
    Person(11, "guest.visitor", None),
    Person(12, "emil.larsen", "Buyers", (6, 7), is_active=False),
)


@transaction.atomic
def load() -> None:
    """Put the data back to what is listed above, whatever has become of it."""
    for model in (Product, Supplier, User, Group):
        model._default_manager.all().delete()
    suppliers = Supplier.objects.bulk_create(
        Supplier(pk=pk, name=name) for pk, name in enumerate(SUPPLIERS, start=1)
    )
    Product.objects.bulk_create(_products(suppliers))
    for pk, (name, codenames) in enumerate(GROUPS.items(), start=1):
        group = Group.objects.create(pk=pk, name=name)
        group.permissions.set(Permission.objects.filter(codename__in=codenames))
    for person in PEOPLE:
        _create(person)


def _products(suppliers: list[Supplier]) -> Iterator[Product]:
    pk = FIRST_PRODUCT
    for supplier in suppliers:
        for kind in SUPPLIERS[supplier.name].split(", "):
            for variant in VARIANTS:
                is_example = pk == EXAMPLE_PRODUCT
                yield Product(
                    pk=pk,
                    code="PROD123" if is_example else f"{supplier.name[:3].upper()}-{pk}",
                    name=f"{kind}, {variant}",
                    active=is_example or pk % 4 != 0,
                    stock=0 if pk % 3 == 0 and not is_example else pk * 37 % 180 + 1,
                    supplier=supplier,
                )
                pk += 1


def _create(person: Person) -> None:
    first_name, last_name = person.username.title().split(".")
    user = User.objects.create(
        pk=person.pk,
        username=person.username,
        first_name=first_name,
        last_name=last_name,
        email=f"{person.username}@example.com",
        # No password fits this. It is always the same, so that sessions outlive a reset.
        password="!",
        is_staff=person.is_superuser or person.group is not None,
        is_superuser=person.is_superuser,
        is_active=person.is_active,
    )
    user.suppliers.set(person.suppliers)
    if person.group:
        user.groups.set(Group.objects.filter(name=person.group))
