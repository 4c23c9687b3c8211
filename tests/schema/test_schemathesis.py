"""Schemathesis writes documents of its own for every field of both schemas; none may be a server error."""

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from resolvers.deps import Deps
from tests.doors import UNLIMITED, Bearer, doors_app
from tests.schema.serving import probe_app, serving

# For each field. Enough to go through every argument in a minute; a long run asks for hundreds.
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "3")

Tokens = Callable[..., Awaitable[Bearer]]


async def schemathesis(url: str, folder: Path, token: str | None = None) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", url),
        *("--phases", "fuzzing", "--mode", "all", "--max-examples", EXAMPLES, "--seed", "20261111"),
        *("--checks", "no_server_error", "--generation-database", "none", "--no-color"),
        *("--suppress-health-check", "all", "--warnings", "off"),
        *(("--header", f"Authorization: Bearer {token}") if token else ()),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.schema.schemathesis_hooks", "PYTHONPATH": os.getcwd()},
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", ["/graphql", "/admin/graphql"])
async def test_no_document_for_the_schema_is_a_server_error(
    path: str, deps: Deps, member_token: Tokens, operator_token: Tokens, tmp_path: Path
) -> None:
    # The hooks send each document without the token, too.
    token = await (member_token() if path == "/graphql" else operator_token())
    # Without limits: what is refused for being too much would try nothing.
    async with serving(doors_app(deps, rates=UNLIMITED)) as address:
        code, output = await schemathesis(f"{address}{path}", tmp_path, token)
    assert code == 0, output
    assert re.search(r"[1-9]\d* generated", output), output


async def test_schemathesis_finds_a_server_error_that_is_there(tmp_path: Path) -> None:
    async with serving(probe_app(execution_s=2.0)) as address:
        code, output = await schemathesis(f"{address}/graphql", tmp_path)
    assert code == 1, output
    for field in ("bug", "tooBig", "away", "forever"):
        assert f"_ Query.{field} _" in output
    for field in ("refused", "me", "limited", "echo"):
        assert f"_ Query.{field} _" not in output
