"""Loaded by the schemathesis command: how to write our scalars, and what no answer may ever say."""

import re
from typing import Any

import httpx
import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes

INSTANT = "2026-11-{:02d}T{:02d}:00:00Z"

integers = st.one_of(
    st.integers(-3, 1_000), st.sampled_from([2**31 - 1, 2**31, 2**53 - 1, -(2**53) + 1, 2**53, 2**63, 2**64, -(2**63)])
)
schemathesis.graphql.scalar("Fen", integers.map(nodes.Int))
schemathesis.graphql.scalar("Points", integers.map(nodes.Int))
schemathesis.graphql.scalar("Date", st.dates().map(str).map(nodes.String))
schemathesis.graphql.scalar(
    "DateTime", st.builds(INSTANT.format, st.integers(1, 30), st.integers(0, 23)).map(nodes.String)
)
schemathesis.graphql.scalar("IdempotencyKey", st.text("abcdefgh0123456789-", min_size=8, max_size=40).map(nodes.String))

NOBODY = httpx.Client(trust_env=False, verify=False, timeout=20.0)
OURS = re.compile(r'"code":\s*"(INTERNAL|TRY_AGAIN)"')


@schemathesis.check
def no_server_error(_context: Any, response: Any, _case: Any) -> None:
    """Schemathesis' own check takes every entry of ``errors`` for a server error; FORBIDDEN and BAD_INPUT are none.

    What somebody has sent, nobody sends as well.
    """
    _is_no_server_error(response)
    if "Authorization" in response.request.headers:
        sent = response.request
        _is_no_server_error(NOBODY.post(sent.url, content=sent.body, headers={"Content-Type": "application/json"}))


def _is_no_server_error(response: Any) -> None:
    assert response.status_code < 500, response.text
    assert not OURS.search(response.text), response.text
