"""``make demo``: the whole story on the real program, in a store of its own and in one that runs."""

from pathlib import Path

import pytest

from tests.ports import free_port
from tests.server.processes_seen import command, environment, eventually, running

pytestmark = pytest.mark.xdist_group("server")


def test_the_story_is_played_in_a_store_started_for_it_and_in_a_running_one(data_dir: Path) -> None:
    env = environment(data_dir, free_port())
    alone = command("demo", env=env)
    assert alone.returncode == 0, alone.stdout + alone.stderr
    for promise in (
        "what was hinted at is taken off",
        "it costs what the preview said, to the fen",
        "the refund did exactly what its preview said",
        "it waits to be shipped",
        "The team is complete",
        "every figure is as before the first order",
        "the stock is complete",
        "nothing has come into the exceptions inbox",
    ):
        assert promise in alone.stdout
    assert list((data_dir / "run").glob("*.json")) == [], "what it started is stopped"
    with running(("run",), env, data_dir.parent / "log") as program:
        program.wait_until_ready()
        beside = command("demo", env=env)
        assert beside.returncode == 0, beside.stdout + beside.stderr
        eventually(program.ready, what="readiness")
        assert "Traceback" not in program.text()
        assert '"outcome":"bug"' not in program.text()
        assert "the demo goes without" not in program.text(), "a sale is open, and a team can be joined"
