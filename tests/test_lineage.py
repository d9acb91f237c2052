"""What the models that a model inherits from say about it."""

from django.db import models
from django.test.utils import isolate_apps

from djem_async._lineage import key_names


@isolate_apps("tests.testapp")
def test_keys_are_those_of_all_parents():
    class Base(models.Model):
        class Meta:
            app_label = "testapp"

    class Child(Base):
        class Meta:
            app_label = "testapp"

    assert key_names(Base) == {"id"}
    assert key_names(Child) == {"id", "base_ptr", "base_ptr_id"}
