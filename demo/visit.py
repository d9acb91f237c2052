"""Visits the pages of the running demo as a browser would, and compares what it sees."""

import asyncio
import html
import json
import re
import textwrap
from collections.abc import Iterable
from typing import Any, Final

import httpx
from django.db.models import Q, QuerySet
from inventory import data
from inventory.models import Product, Supplier
from terminal import title, verdict
from websockets import ConnectionClosed, Origin, connect

AS_JSON: Final = {"accept": "application/json"}
TOKEN: Final = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


class Browser:
    """A client with cookies that sends the forms of the pages that it has seen."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._token = ""
        self.visits = 0
        self.failures = 0

    async def get(self, path: str, status: int, *seen: str, **headers: str) -> httpx.Response:
        """Get a page, and expect a status and texts."""
        response = await self._client.get(path, headers=headers)
        self._judge(response, status, *seen)
        return response

    async def post(self, path: str, status: int, *seen: str, **fields: str) -> httpx.Response:
        """Send a form with the token of the last page, and expect a status and texts."""
        fields.setdefault("csrfmiddlewaretoken", self._token)
        response = await self._client.post(path, data=fields)
        self._judge(response, status, *seen)
        return response

    def expect(self, is_right: bool, text: str) -> None:
        self.visits += 1
        self.failures += not is_right
        verdict(is_right, text)

    def headers(self) -> dict[str, str]:
        """Return what a WebSocket needs to be of the same session."""
        cookies = "; ".join(f"{name}={value}" for name, value in self._client.cookies.items())
        return {"cookie": cookies}

    async def get_at_once(self, paths: Iterable[str]) -> list[httpx.Response]:
        """Get several pages at the same time."""
        return await asyncio.gather(*(self._client.get(path) for path in paths))

    def _judge(self, response: httpx.Response, status: int, *seen: str) -> None:
        if token := TOKEN.search(response.text):
            self._token = token[1]
        where = response.headers.get("location", "")
        text = f"{where}\n{_readable(response.text)}"
        missing = [part for part in seen if part not in text]
        path = response.request.url.raw_path.decode()
        line = f"{response.request.method:4} {path:36} {response.status_code}"
        shown = f"-> {where}" if where else " / ".join(seen)
        if response.status_code != status or missing:
            shown = f"where {status} is expected, with {missing}"
        if "\n" in shown:
            # A log has several lines, and is shown below.
            shown = "\n" + textwrap.indent(shown, " " * 7)
        is_right = response.status_code == status and not missing
        self.expect(is_right, f"{line} {shown}".rstrip())


def _readable(page: str) -> str:
    """Return the text of a page as it is read."""
    return html.unescape(re.sub(r"<[^>]*>", "", page))


async def visit(address: str) -> bool:
    """Visit everything, and tell whether it was as expected."""
    print()
    title("The pages, visited by an HTTP client")
    print(f"Serving at {address}\n")
    async with httpx.AsyncClient(base_url=address, timeout=30) as client:
        browser = Browser(client)
        await _sign_in(browser)
        await _refused(browser)
        await _lists(browser)
        await _not_found(browser)
        await _granted(browser)
        await _at_once(browser)
        await _reasons(browser)
        await _admin(browser)
        await _api(browser)
        await _live(browser, address)
        await _other_users(browser)
    print()
    right = browser.visits - browser.failures
    verdict(not browser.failures, f"Pages: {right} of {browser.visits} visits are as expected.")
    return not browser.failures


async def _sign_in(browser: Browser) -> None:
    await browser.get("/", 302, "/products/")
    await browser.get("/products/", 302, "/sign-in/?next=/products/")
    await browser.get("/static/inventory/style.css", 200, "prefers-color-scheme: dark")
    page = await browser.get("/sign-in/?next=/products/", 200, "Who are you today?")
    buttons = page.text.count('name="username"')
    browser.expect(buttons == len(data.PEOPLE), f"A button for each of {buttons} users")
    await browser.post("/sign-in/", 403, "CSRF", username="user.name", csrfmiddlewaretoken="")
    await browser.post("/sign-in/", 404, "No User matches", username="emil.larsen")
    await browser.get("/sign-in/", 200)
    away = {"username": "user.name", "next": "https://example.com/"}
    await browser.post("/sign-in/", 302, "/products/", **away)


async def _refused(browser: Browser) -> None:
    visible = await _visible().acount()
    page = await browser.get("/products/", 200, f"{visible} products", "user.name", "Page 1 of ")
    rows = page.text.count('<th scope="row">')
    browser.expect(rows == 20, f"{rows} rows, each with what user.name may do")
    granted, denied = page.text.count(">Delete</button>"), page.text.count("#delete_product")
    browser.expect(granted + denied == 20 > denied, f"{granted} to delete, and {denied} not")
    await browser.get("/products/?page=2&q=", 200, "Page 2 of ")
    await browser.get(
        "/products/?list=delete_product&q=radiator", 200, "No product is in this list"
    )
    why = "Cannot delete active product lines"
    await browser.get("/products/1375/", 200, "PROD123", why)
    log = (
        "Permission: inventory.delete_product\n"
        "User: user.name (54)\n"
        "Object: PROD123 (1375)\n\n"
        f"Model-level Result: Granted\n\n{why}\n\n"
        "RESULT: Permission Denied"
    )
    await browser.post("/products/1375/delete/", 403, log)
    await browser.post("/products/1375/delete/by-class/", 403, log)
    answer: Any = (await browser.get("/products/1375/permissions/", 200)).json()
    decision = answer.get("permissions", {}).get("inventory.delete_product", {})
    granted, lines = decision.get("granted"), decision.get("log", [])
    said = " | ".join(line for line in lines if line)
    is_right = granted is False and why in lines
    browser.expect(is_right, f"JSON: delete_product granted: {granted}, log: {said}")
    await browser.get("/products/1375/delete/", 405)


async def _lists(browser: Browser) -> None:
    # Asked of the database, not of the library.
    mine = Product.objects.filter(supplier__managers=data.EXAMPLE_USER)
    can_go = await mine.filter(active=True).acount()
    await browser.get("/products/?list=discontinue_product", 200, f"{can_go} products")
    gone = await mine.filter(active=False, stock=0).acount()
    page = await browser.get("/products/?list=delete_product", 200, f"{gone} products")
    buttons = page.text.count(">Delete</button>")
    browser.expect(buttons == gone, f"{buttons} of {gone} rows have a button for deleting")

    # One product or twenty on a page, of one supplier or many, of few or of 1,000 more.
    took = "This page took 6 database queries."
    await browser.get("/products/?q=PROD123", 200, "1 product,", took)
    await browser.get("/products/?page=2", 200, "Page 2 of ", took)
    await Product.objects.abulk_create(
        Product(code=f"MORE-{number}", name="Spare", supplier_id=number % 16 + 1)
        for number in range(1000)
    )
    visible = await _visible().acount()
    await browser.get("/products/?page=50", 200, f"{visible} products", "Page 50 of ", took)
    await Product.objects.filter(name="Spare").adelete()


async def _not_found(browser: Browser) -> None:
    await browser.get("/products/999999/", 404, "No Product matches the given query.")
    await browser.get("/nowhere/", 404, "There is no page at /nowhere/.", "Signed in as user.name")
    await browser.get("/products/999999/permissions/", 404, '"error": "Not Found"', **AS_JSON)


async def _granted(browser: Browser) -> None:
    # Asked of the database, not of the library.
    mine = Product.objects.filter(supplier__managers=data.EXAMPLE_USER)
    gone = mine.filter(active=False, stock=0).values_list("pk", flat=True)
    first, second = [pk async for pk in gone[:2]]
    on_sale = await mine.filter(active=True, stock__gt=0).values_list("pk", flat=True).afirst()

    await browser.get(f"/products/{first}/", 200, "Product can be deleted")
    await browser.post(f"/products/{first}/delete/", 302, "/products/")
    left = await _visible().acount()
    seen = "is deleted (by the view function)."
    await browser.get("/products/", 200, seen, f"{left} products")
    await browser.get(f"/products/{first}/", 404)
    await browser.post(f"/products/{second}/delete/by-class/", 302, "/products/")
    seen = "is deleted (by the view class)."
    await browser.get("/products/", 200, seen, f"{left - 1} products")
    await browser.get(f"/products/{second}/", 404)

    await browser.post(f"/products/{on_sale}/delete/", 403, "Cannot delete active product lines")
    await browser.post(f"/products/{on_sale}/clear-stock/", 302, f"/products/{on_sale}/")
    await browser.get(f"/products/{on_sale}/", 200, "is out of stock.")
    await browser.post(f"/products/{on_sale}/discontinue/", 302, f"/products/{on_sale}/")
    await browser.get(f"/products/{on_sale}/", 200, "is discontinued.", "Product can be deleted")
    why = "Cannot change discontinued product lines"
    await browser.post(f"/products/{on_sale}/clear-stock/", 403, why)
    why = "This product is discontinued already"
    await browser.post(f"/products/{on_sale}/discontinue/", 403, why)

    await browser.post("/reset/", 302, "/products/")
    await browser.get("/products/", 200, "All data is as it was", f"{left + 1} products")


async def _at_once(browser: Browser) -> None:
    paths = [f"/products/{pk}/" async for pk in _visible().values_list("pk", flat=True)[:50]]
    pages = await browser.get_at_once(paths)
    own = [f"({path.split('/')[2]})" in page.text for path, page in zip(paths, pages, strict=True)]
    statuses = {page.status_code for page in pages}
    browser.expect(statuses == {200} and all(own), f"{len(pages)} pages at once: {statuses}")


async def _other_users(browser: Browser) -> None:
    await browser.post("/sign-in/", 302, username="guest.visitor")
    await browser.get("/products/", 403, "Permission: inventory.view_product")
    await browser.get("/products/1375/", 403, "Model-level Result: Denied", **AS_JSON)
    await browser.get("/sign-in/", 200)
    await browser.post("/sign-in/", 302, username="olga.petrova", next="/products/1375/")
    await browser.get("/products/1375/", 200, "olga.petrova")
    await browser.post("/products/1375/delete/", 403, "Model-level Result: Denied")
    await browser.post("/sign-in/", 302, username="ada.lovelace")
    await browser.get("/products/1375/", 200, "Active superuser: Implicit permission")
    await browser.post("/sign-out/", 302, "/sign-in/")
    await browser.get("/products/1375/", 302, "/sign-in/?next=/products/1375/")
    await browser.get("/sign-in/", 200)
    where = "/sign-in/?next=/products/1375/delete/by-class/"
    await browser.post("/products/1375/delete/by-class/", 302, where)


async def _reasons(browser: Browser) -> None:
    asked = "user=user.name&perm=inventory.delete_product&object="
    why = "Cannot delete active product lines"
    await browser.get("/explain/", 200, "Explain a permission")
    await browser.get(
        f"/explain/?{asked}PROD123", 200, "The answer denied", why, "RESULT: Permission Denied"
    )
    await browser.get(f"/explain/?{asked}", 200, "The answer granted")
    await browser.get(f"/explain/?{asked}PROD999", 200, "There is no product 'PROD999'.")


async def _admin(browser: Browser) -> None:
    visible = await _visible().acount()
    await browser.get("/admin/inventory/product/", 200, f"{visible} products")
    hidden = await Product.objects.exclude(pk__in=_visible()).afirst()
    assert hidden
    await browser.get(f"/admin/inventory/product/?q={hidden.code}", 200, "0 products")
    await browser.get(f"/admin/inventory/product/{hidden.pk}/change/", 302, "/admin/")
    await browser.get("/admin/inventory/product/1375/change/", 200, "Change product")
    await browser.get("/admin/inventory/product/1375/delete/", 403)


async def _api(browser: Browser) -> None:
    answer: Any = (await browser.get("/api/products/", 200, **AS_JSON)).json()
    visible = await _visible().acount()
    browser.expect(answer["count"] == visible, f"JSON: {visible} products")
    hidden = await Product.objects.exclude(pk__in=_visible()).afirst()
    assert hidden
    await browser.get(f"/api/products/{hidden.pk}/", 404, **AS_JSON)
    page = await browser.get("/api/products/1375/", 200, "PROD123", accept="text/html")
    browser.expect("btn-danger" not in page.text, "No button for deleting it")


def _visible() -> "QuerySet[Product]":
    """Return what user.name may see, asked of the database, not of the library."""
    own = Supplier.objects.filter(managers=data.EXAMPLE_USER)
    return Product.objects.filter(Q(active=True) | Q(supplier__in=own))


async def _live(browser: Browser, address: str) -> None:
    path = "/products/1375/stock/"
    await browser.get(path, 200, "The stock of PROD123, live")
    url = f"{address.replace('http', 'ws', 1)}{path}"
    async with connect(url, additional_headers=browser.headers(), origin=Origin(address)) as socket:
        stock = json.loads(await socket.recv())["stock"]
        await browser.post(f"{path}sell/", 204)
        left = json.loads(await socket.recv())["stock"]
        browser.expect(left == stock - 1, f"WebSocket: the stock falls from {stock} to {left}")
        await browser.post(f"{path}step-down/", 204)
        reason = json.loads(await socket.recv())["denied"]
        browser.expect("does not manage" in reason, f"WebSocket: closed, because {reason}")
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            code = closed.rcvd and closed.rcvd.code
            browser.expect(code == 4403, f"WebSocket: closed with {code}")
    await browser.post(f"{path}sell/", 403, "does not manage")
    await browser.get("/products/", 200)
    await browser.post("/reset/", 302, "/products/")
