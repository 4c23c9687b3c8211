"""Somebody who calls the store over HTTP, and notes down every call with what became of it."""

import random
import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx

from tests.simulation.flash_seen import Call


@dataclass(kw_only=True)
class Caller:
    """Who does not know what became of the calls without an answer."""

    path: ClassVar[str]
    member: str
    token: str
    http: httpx.AsyncClient
    rng: random.Random
    calls: list[Call] = field(default_factory=list)

    async def call(self, call: Call, document: str, **variables: object) -> dict[str, Any] | None:
        """What is answered under ``done``; None when nobody did, or the store asks to be called again."""
        self.calls.append(call)
        call.sent_at = time.time()
        try:
            reply = await self.http.post(
                self.path,
                json={"query": document, "variables": variables},
                headers={"authorization": f"Bearer {self.token}"},
            )
            body = reply.json()
        except (httpx.TransportError, ValueError):
            return None
        if "errors" in body:
            codes = {error["extensions"]["code"] for error in body["errors"]}
            assert codes <= {"TRY_AGAIN"}, f"{call.what}: {body}"
            return None
        call.answered_at = time.time()
        done: dict[str, Any] = body["data"]["done"]
        call.answer = done.get("code") or done.get("__typename") or call.what
        return done

    def new(self, what: str, **about: Any) -> Call:
        """A call that is about to be sent."""
        return Call(member=self.member, what=what, sent_at=0.0, **about)

    def key(self) -> str:
        """A new idempotency key."""
        return f"{self.rng.getrandbits(64):016x}"
