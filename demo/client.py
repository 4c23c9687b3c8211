"""Callers of the two doors, and a phone with the sandbox WeChat on it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

WITHIN_S = 120.0
PAUSE_S = 0.1


class StoryBroken(Exception):
    """The store did not do what it promised; the text says where."""


@dataclass(slots=True)
class Client:
    """One caller of one of the two doors."""

    http: httpx.Client
    url: str
    token: str | None = None

    def ask(self, document: str, **variables: object) -> Any:
        """The first field of the answer.

        Raises:
            StoryBroken: an error at the top level.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = self.http.post(self.url, json={"query": document, "variables": variables}, headers=headers).json()
        if "errors" in answer:
            raise StoryBroken(f"{self.url} answered {answer['errors'][0]}")
        return next(iter(answer["data"].values()))

    def do(self, wanted: str, document: str, **variables: object) -> Any:
        """The result of a mutation, which must be of the type wanted.

        Raises:
            StoryBroken: it was refused.
        """
        result = self.ask(document, **variables)
        if result["__typename"] != wanted:
            raise StoryBroken(f"refused: {result.get('code')} {result.get('message')}")
        return result

    def wait(self, what: str, until: Callable[[Any], bool], document: str, **variables: object) -> Any:
        """The answer, once it is as wanted.

        Raises:
            StoryBroken: it is not within the time.
        """
        give_up = time.monotonic() + WITHIN_S
        while not until(found := self.ask(document, **variables)):
            if time.monotonic() > give_up:
                raise StoryBroken(f"not so after {WITHIN_S:g} s: {what}")
            time.sleep(PAUSE_S)
        return found


@dataclass(frozen=True, slots=True)
class Phone:
    """The operator's side of the sandbox WeChat: what people do with their phones."""

    http: httpx.Client
    url: str

    def does(self, what: str, asked: Mapping[str, object]) -> Any:
        """What comes of it.

        Raises:
            StoryBroken: the sandbox does not do it.
        """
        answer = self.http.post(f"{self.url}/_sandbox/{what}", json=asked)
        if answer.status_code != 200:
            raise StoryBroken(f"the sandbox says {answer.text}")
        return answer.json()
