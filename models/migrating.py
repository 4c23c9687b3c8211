"""Applying migrations in time that grows with their number, not with its square.

Tortoise renders every model of the store anew before each single operation, for the few kinds of operations that look
at what was before; here that copy is rendered only if an operation asks for it. And after each operation Tortoise makes
all models ready for queries; here only for what an operation reads, their columns and indexes. So a migration that has
to look at rows does it in SQL.
"""

from typing import Any

from tortoise.migrations.executor import MigrationExecutor
from tortoise.migrations.graph import MigrationKey
from tortoise.migrations.migration import Migration
from tortoise.migrations.schema_generator.state import State
from tortoise.migrations.schema_generator.state_apps import StateApps


class LeanApps(StateApps):
    """Models with columns and indexes, which cannot be queried."""

    def _build_initial_querysets(self) -> None:
        for models in self.apps.values():
            for model in models.values():
                if model._meta._inited:
                    model._meta.finalise_fields()
                    model._meta._resolve_index_expressions()


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

    async def _project_state(self, applied: set[MigrationKey], *, upto: MigrationKey | None = None) -> State:
        connections = {label: config["default_connection"] for label, config in self.loader.apps_config.items()}
        state: State = LeanState(models={}, apps=LeanApps(connections))
        for key in self._full_plan():
            if key == upto:
                break
            if key in applied:
                migration = self.loader.graph.nodes[key]
                assert isinstance(migration, Migration), f"{key} is applied, so it is there"
                await migration.apply(state, dry_run=True)
        return state
