"""The GraphQL-over-HTTP audit of npm's graphql-http, run against both endpoints on a real socket."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.schema.serving import door_app, serving

AUDIT = Path(__file__).parent / "audit"


async def run(*command: str, cwd: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "CI": "1"},
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")),
    reason="the audit is a Node program, and node or npm is not on PATH",
)
async def test_both_endpoints_pass_the_graphql_over_http_audit_without_an_error_or_a_warning(tmp_path: Path) -> None:
    for name in ("package.json", "package-lock.json", "audit.js"):
        shutil.copy(AUDIT / name, tmp_path / name)
    code, output = await run("npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", cwd=tmp_path)
    assert code == 0, output

    async with serving(door_app()) as address:
        code, output = await run("node", "audit.js", f"{address}/graphql", f"{address}/admin/graphql", cwd=tmp_path)

    assert code == 0, output
    assert output.count('"warn":0,"error":0') == 2, output
    # Nothing is declined: there are no notices either, see docs/api/http.md.
    assert output.count('"notice":0') == 2, output
