"""Write the migration that leads from the last one to the tables as the models declare them.

Run it with ``python -m models.new_migration NAME``. It needs no database.
"""

import asyncio
import sys

from tortoise.context import TortoiseContext
from tortoise.migrations.autodetector import MigrationAutodetector
from tortoise.migrations.operations import AlterModelOptions
from tortoise.migrations.writer import MigrationWriter, format_migration_name

from models.engine import tortoise_config


async def changes() -> list[MigrationWriter]:
    """What a next migration would have to do; empty when the models and the migrations agree."""
    config = tortoise_config("postgres://localhost/store", pool_size=1)
    with TortoiseContext() as context:
        await context.init(config=config, init_connections=False)
        assert context.apps is not None
        writers = await MigrationAutodetector(context.apps, config["apps"]).changes()
    for writer in writers:
        # Other words about a table, for one: tortoise remembers them and does nothing to the database.
        writer.operations = [one for one in writer.operations if not isinstance(one, AlterModelOptions)]
    return [writer for writer in writers if writer.operations]


async def write(name: str) -> None:
    """Write one file into ``models/migrations``, or say that nothing changed."""
    for writer in await changes():
        writer.name = format_migration_name(int(writer.name.split("_", 1)[0]), name)
        sys.stdout.write(f"{writer.write()}\n")
        return
    sys.stdout.write("the models and the migrations agree\n")


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1]))
