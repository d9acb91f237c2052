"""Checks that nobody awaits, where a truth value is needed."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest

from djem_async.protocols import SupportsObjectPermissions

from .models import Product, User


def statements(user: User, product: Product) -> None:
    if user.ahas_perm("shop.use_product", product):  # E: djem-await "write "await user.ahas_perm(...)"" # E: truthy-bool "" # P: reportUnnecessaryComparison
        pass
    if product.pk == 1:
        pass
    elif user.ahas_perms(["shop.use_product"]):  # E: djem-await "ahas_perms(...)" # E: truthy-bool "" # P: reportUnnecessaryComparison
        pass
    while user.ahas_module_perms("shop"):  # E: djem-await "ahas_module_perms" # E: truthy-bool "" # P: reportUnnecessaryComparison
        break
    assert user.ahas_perm("shop.use_product")  # E: djem-await "" # E: truthy-bool ""
    match product:
        case Product() if user.ahas_perm("shop.use_product"):  # E: djem-await "" # E: truthy-bool ""
            pass
        case _:
            pass


def expressions(user: User, products: list[Product]) -> None:
    negated = not user.ahas_perm("shop.use_product")  # E: djem-await "" # E: truthy-bool ""
    both = user.ahas_perm("shop.use_product") and 1  # E: djem-await "" # E: truthy-bool ""
    either = negated or user.ahas_perm("shop.use_product") or user  # E: djem-await "" # E: truthy-bool ""
    chosen = 1 if user.ahas_perm("shop.use_product") else 2  # E: djem-await "" # E: truthy-bool "" # P: reportUnnecessaryComparison
    if negated and user.ahas_perm("shop.use_product"):  # E: djem-await "" # E: truthy-bool "" # P: reportUnnecessaryComparison
        pass
    if answer := user.ahas_perm("shop.use_product"):  # E: djem-await "" # E: truthy-bool "" # P: reportUnnecessaryComparison
        pass
    if (user.ahas_perm("shop.add_product") if both else negated):  # E: djem-await ""
        pass
    listed = [p for p in products if user.ahas_perm("shop.use_product", p)]  # E: djem-await "" # E: truthy-bool "" # P: reportUnnecessaryComparison
    mapped = {p: p for p in products if user.ahas_perm("shop.use_product", p)}  # E: djem-await "" # E: truthy-bool "" # P: reportUnnecessaryComparison
    print(either, chosen, answer, listed, mapped)


def calls(user: User, products: list[Product]) -> None:
    bool(user.ahas_perm("shop.use_product"))  # E: djem-await ""
    all([user.ahas_perm("shop.use_product"), True])  # E: djem-await ""
    any((False, user.ahas_perm("shop.use_product")))  # E: djem-await ""
    all(user.ahas_perm("shop.use_product", p) for p in products)  # E: djem-await ""
    any([user.ahas_perm("shop.use_product", p) for p in products])  # E: djem-await ""
    all({user.ahas_perm("shop.use_product", p) for p in products})  # E: djem-await ""


def users(request: HttpRequest, supported: SupportsObjectPermissions, django: AbstractUser) -> None:
    if request.user.ahas_perm("shop.use_product"):  # E: djem-await "" # E: truthy-bool "" # pyright: ignore
        pass
    if supported.ahas_perm("shop.use_product"):  # E: djem-await "" # E: truthy-bool "" # P: reportUnnecessaryComparison
        pass
    if django.ahas_perm("shop.use_product"):  # E: djem-await "" # E: truthy-bool "" # P: reportUnnecessaryComparison
        pass


def a_variable_hides_it_from_the_plugin(user: User) -> None:
    answer = user.ahas_perm("shop.use_product")
    if answer:  # E: truthy-bool "" # P: reportUnnecessaryComparison
        pass


async def right(user: User) -> list[object]:
    pending = user.ahas_perm("shop.use_product")
    one = await user.ahas_perm("shop.use_product") or await user.ahas_perms([])
    return [await pending, one, -1, [user.ahas_perm("shop.view_product")], print(all(x for x in [1]))]
