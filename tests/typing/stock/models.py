from django.db import models


class Shelf(models.Model):
    class Meta:
        permissions = [("use_shelf", "Can use shelves")]
