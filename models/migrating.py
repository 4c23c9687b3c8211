"""Applying migrations in time that grows with their number, not with its square.

Tortoise renders every model of the store anew before each single operation, for the few kinds of operations that look
at what was before. Here that copy is rendered only if an operation asks for it.
"""

from typing import Any

from tortoise.migrations.executor import MigrationExecutor
from tortoise.migrations.schema_generator.state import State
from tortoise.migrations.schema_generator.state_apps import StateApps


class LeanState(State):
    """The models as the migrations have made them so far."""

    def clone(self) -> State:
        """A copy of what they are now, rendered when it is looked at."""
        models = {key: model.clone() for key, model in self.models.items()}
        return LeanState(models=models, apps=_Unrendered(self.apps, models))  # type: ignore[arg-type]


class _Unrendered:
    """Stands for a copy of the apps until somebody uses it."""

    def __init__(self, origin: StateApps, models: Any) -> None:
        self._origin, self._models = origin, models
        self._rendered: StateApps | None = None

    def __getattr__(self, name: str) -> Any:
        if self._rendered is None:
            self._rendered = self._origin.clone(model_states=self._models)
        return getattr(self._rendered, name)


class Executor(MigrationExecutor):
    """Tortoise's executor on a ``LeanState``."""

    async def _project_state(self, *args: Any, **named: Any) -> State:
        state = await super()._project_state(*args, **named)
        return LeanState(models=state.models, apps=state.apps)
