"""The ASGI application."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

# The handler serves the style sheet, so that no web server is needed in front.
application = ASGIStaticFilesHandler(get_asgi_application())
