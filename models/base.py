"""What every table shares."""

from typing import Any
from uuid import UUID

from tortoise import fields
from tortoise.models import Model


def id_must_be_given() -> UUID:
    """The default of every primary key: ids are made by ``models.ids`` from the verb's own instant, never here."""
    raise AssertionError("a row needs an id made by models.ids.new_id")


class Row(Model):
    """A table with a UUIDv7 primary key."""

    id = fields.UUIDField(primary_key=True, default=id_must_be_given)

    class Meta:
        abstract = True


def reference(table: str, **options: Any) -> Any:
    """A foreign key that forbids deleting what it points to. There is no reverse name: queries say what they mean."""
    return fields.ForeignKeyField(f"store.{table}", related_name=False, on_delete=fields.RESTRICT, **options)


def owner() -> Any:
    """The primary key of a table with one row for each member."""
    return fields.OneToOneField("store.Member", related_name=False, on_delete=fields.RESTRICT, primary_key=True)
