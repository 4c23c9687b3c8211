"""Making an empty database a store: the first version of each programme, so that every verb finds its rules."""

from datetime import datetime

from loyalty.coupons.newcomer_pack import NewcomerPack
from loyalty.points.check_in import CheckInProgramme
from loyalty.points.points import PointsProgramme
from loyalty.referrals.referral_programme import ReferralProgramme
from loyalty.tiers.tier import TierLevel, TierTable
from models.engine import MIGRATION_LOCK, rows, transaction
from models.ids import new_id
from models.programme import ProgrammeVersion

FIRST_DEFINITIONS = {
    "tier": TierTable(levels=(TierLevel(code="member", name="会员", threshold=0),)).definition(),
    "points": PointsProgramme().definition(),
    "check_in": CheckInProgramme().definition(),
    "referral": ReferralProgramme().definition(),
    "newcomer_pack": NewcomerPack().definition(),
}


async def prepare(now: datetime) -> None:
    """Publish the first version of each programme that has none, in force from ``now``. Harmless to repeat."""
    async with transaction():
        await rows("SELECT pg_advisory_xact_lock($1)", [MIGRATION_LOCK])
        for kind, definition in FIRST_DEFINITIONS.items():
            if not await ProgrammeVersion.exists(kind=kind):
                await ProgrammeVersion.create(
                    id=new_id(now),
                    kind=kind,
                    version=1,
                    definition=definition,
                    effective_at=now,
                    published_at=now,
                    note="first version",
                )
