"""The REST API: lists are filtered by the database, and each object is checked."""

from rest_framework import serializers, viewsets

from djem_async.contrib.rest_framework import (
    AddPermissionMixin,
    ObjectPermissions,
    ObjectPermissionsFilter,
)

from .models import Product


class ProductSerializer(AddPermissionMixin, serializers.ModelSerializer[Product]):
    class Meta:
        model = Product
        fields = ["id", "code", "name", "supplier", "stock", "active"]


class ProductViewSet(viewsets.ModelViewSet[Product]):
    queryset = Product.objects.all()
    serializer_class = ProductSerializer
    permission_classes = [ObjectPermissions]
    filter_backends = [ObjectPermissionsFilter]
