"""Relations without N+1: each batch function is called once for all the keys a level of the answer asks for."""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from strawberry.dataloader import DataLoader

from resolvers.deps import Deps

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

BatchFunction = Callable[[Deps, Sequence[K]], Awaitable[Mapping[K, V]]]


class Loaders:
    """The loaders of one request, made when they are first asked.

    A batch function is a resolver: it takes the dependencies and distinct keys, and returns what it found by key.
    """

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._loaders: dict[object, DataLoader[Any, Any]] = {}

    async def load(self, batch: BatchFunction[K, V], key: K) -> V | None:
        """What ``batch`` finds for ``key``, fetched together with the other keys asked for in the same turn."""
        loader = self._loaders.get(batch)
        if loader is None:

            async def fetch(keys: list[K]) -> list[V | None]:
                found = await batch(self._deps, keys)
                return [found.get(one) for one in keys]

            loader = self._loaders[batch] = DataLoader(load_fn=fetch)
        found: V | None = await loader.load(key)
        return found

    def forget(self) -> None:
        """Drop what was fetched, because something has changed since."""
        self._loaders.clear()
