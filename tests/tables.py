"""All that a store holds, to see that nothing changed."""

from models.engine import rows


async def everything(*, but: tuple[str, ...] = ()) -> dict[str, str]:
    """A digest of the rows of every table of the store."""
    tables = await rows("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    digests = [
        f"SELECT '{name}' AS name, md5(coalesce(string_agg(r::text, '|' ORDER BY r::text), '')) AS digest "
        f'FROM "{name}" r'
        for name in (table["name"] for table in tables)
        if name not in but
    ]
    return {row["name"]: row["digest"] for row in await rows(" UNION ALL ".join(digests))}
