"""The settings page names every setting there is, and no other."""

import re
from pathlib import Path

import settings

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "settings.md"


def test_the_page_lists_exactly_the_settings_there_are() -> None:
    listed = set(re.findall(r"^\| `([A-Z0-9_]+)`", PAGE.read_text(), re.MULTILINE))
    assert listed == set(settings.KNOWN_NAMES)


def test_the_page_states_the_defaults_that_are_in_effect() -> None:
    rows = dict(re.findall(r"^\| `([A-Z0-9_]+)` \| `([^`]+)`", PAGE.read_text(), re.MULTILINE))
    fresh = settings.Settings.model_construct()
    for name, written in rows.items():
        field = next(field for field in settings.Settings.model_fields if settings.env_name(field) == name)
        value = getattr(fresh, field)
        if value is None or name == "YOULI_DATA_DIR":
            continue
        assert written == (str(value).lower() if isinstance(value, bool) else str(value)), name
