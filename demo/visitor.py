"""A member of the demo, signed in as the mini-program would do it, and what there is to try with the token."""

import httpx

from resolvers import session
from resolvers.deps import Deps

OPENID = "o-demo-member"
TRY = (
    "{ products(first: 3) { nodes { title priceFrom yourPriceFrom skus { id title stockLeft } } } }",
    "{ memberHome { tier { level { name } growthValue missing } points { available } checkIn { done streakDays } } }",
    'mutation { checkIn(idempotencyKey: "my-first-day") { __typename ... on Refusal { code message } } }',
)


async def access_token(deps: Deps, *, platform_url: str) -> str:
    """A fresh access token of the demo member: the sandbox gives the code that ``wx.login`` would give."""
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:
        answer = await http.post(f"{platform_url}/_sandbox/login_codes", json={"openid": OPENID})
        answer.raise_for_status()
    signed_in = await session.login(deps, code=answer.json()["code"], client_ip="127.0.0.1")
    return signed_in.tokens.access_token
