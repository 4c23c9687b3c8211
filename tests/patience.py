"""How long a test waits for what must come: so long that only what never comes is missed, however busy the machine."""

from dataclasses import replace
from datetime import timedelta
from types import ModuleType

import pytest

from cache.rate_limit import Limit

PATIENCE_S = 240.0
DAY = timedelta(days=1)


def nothing_comes_back(monkeypatch: pytest.MonkeyPatch, place: ModuleType) -> None:
    """The limits of a module give back one call a day, so none comes back during a test, however long it takes."""
    for name, limit in list(vars(place).items()):
        if isinstance(limit, Limit):
            monkeypatch.setattr(place, name, replace(limit, every=DAY))
