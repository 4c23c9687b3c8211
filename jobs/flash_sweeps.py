"""What the clock does for flash sales: tell the gates, pass on what comes back, close what is over."""

from uuid import UUID

from jobs.sweep import UNCHANGED, Sweep
from resolvers.deps import Deps
from resolvers.flash_sales import flash_gate, flash_rehearsal, flash_session, flash_wait
from resolvers.flash_sales.flash_gate import AWAY, Repair
from telemetry import gate_drift_seen


async def _tell(deps: Deps, item_id: UUID) -> None:
    # The queue first: what comes back is its, and only what it leaves is everybody's.
    await flash_wait.offer(deps, item_id=item_id)
    await flash_gate.tell(deps, item_id=item_id)


async def _offer(deps: Deps, item_id: UUID) -> object:
    # The first in the queue may wait for more than there is, round after round.
    return await flash_wait.offer(deps, item_id=item_id) or UNCHANGED


async def _lapse(deps: Deps, wait_id: UUID) -> None:
    await flash_wait.lapse(deps, wait_id=wait_id)


async def _reconcile(deps: Deps, item_id: UUID) -> object:
    try:
        drift = await flash_gate.reconcile(deps, item_id=item_id)
    except AWAY:
        gate_drift_seen("away", 0)
        return UNCHANGED
    gate_drift_seen(drift.repair, drift.pieces)
    return UNCHANGED if drift.repair in (Repair.NONE, Repair.POSTPONED) else drift


async def _end(deps: Deps, sale_id: UUID) -> None:
    await flash_session.end(deps, sale_id=sale_id)


async def _rehearse(deps: Deps, rehearsal_id: UUID) -> None:
    await flash_rehearsal.run(deps, rehearsal_id=rehearsal_id)


FLASH_SWEEPS: tuple[Sweep, ...] = (
    Sweep(name="tell_flash_gates", every_s=1, due=flash_gate.untold, do=_tell),
    Sweep(name="lapse_flash_offers", every_s=1, due=flash_wait.lapsed, do=_lapse),
    Sweep(name="offer_flash_pieces", every_s=1, due=flash_wait.queued, do=_offer),
    Sweep(name="reconcile_flash_gates", every_s=3, due=flash_gate.claim_due, do=_reconcile, leases=True),
    Sweep(name="end_flash_sales", every_s=5, due=flash_session.over, do=_end),
    Sweep(name="rehearse_flash_sales", every_s=2, due=flash_rehearsal.claim_due, do=_rehearse, leases=True),
)
