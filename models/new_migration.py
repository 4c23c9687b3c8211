"""Write the migration that leads from the last one to the tables as the models declare them.

Run it with ``python -m models.new_migration NAME``. It needs no database.
"""

import asyncio
import sys

from tortoise import Tortoise
from tortoise.migrations.autodetector import MigrationAutodetector
from tortoise.migrations.writer import format_migration_name

from models.engine import tortoise_config


async def write(name: str) -> None:
    """Write one file into ``models/migrations``, or say that nothing changed."""
    config = tortoise_config("postgres://localhost/store", pool_size=1)
    context = await Tortoise.init(config=config, init_connections=False)
    assert context.apps is not None
    for writer in await MigrationAutodetector(context.apps, config["apps"]).changes():
        writer.name = format_migration_name(int(writer.name.split("_", 1)[0]), name)
        sys.stdout.write(f"{writer.write()}\n")
        return
    sys.stdout.write("the models and the migrations agree\n")


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1]))
