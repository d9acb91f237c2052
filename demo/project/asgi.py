"""The ASGI application: pages, and the WebSocket of the stock page."""

import os
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django = get_asgi_application()

from inventory.live import StockConsumer  # noqa: E402 - needs the models

consumer: Any = StockConsumer.as_asgi()  # which types don't know as a view
routes: list[Any] = [path("products/<int:pk>/stock/", consumer)]

application = ProtocolTypeRouter(
    {
        # The handler serves style sheets, so that no web server is needed in front.
        "http": ASGIStaticFilesHandler(django),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(routes))),
    }
)
