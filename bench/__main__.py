"""``python -m bench`` runs every benchmark, ``python -m bench NAME …`` those named; each has ``async def main()``."""

import asyncio
import importlib
import sys
from pathlib import Path


def names() -> list[str]:
    """The benchmarks there are: every module of this folder but for the store that they share."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py") if path.stem != "store")


for name in sys.argv[1:] or names():
    sys.stdout.write(f"\n== {name}\n")
    asyncio.run(importlib.import_module(f"bench.{name}").main())
