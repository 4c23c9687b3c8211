"""The benefits 权益 of a tier in the API: each kind a type and an input of its own, with the figures that it has."""

from collections.abc import Mapping
from typing import Annotated

import strawberry

from loyalty.programme import Reason, invalid
from loyalty.tiers.tier_benefit import IN_EFFECT, Benefit, BenefitKind
from schema.enums import describe
from schema.scalars import Fen, Points

describe(
    BenefitKind,
    "What a tier can give besides its discount and its points factor.",
    {
        BenefitKind.FREE_SHIPPING: "Free shipping 包邮.",
        BenefitKind.BIRTHDAY_GIFT: "A birthday gift 生日礼.",
        BenefitKind.BIRTHDAY_COUPONS: "Coupons on the birthday 生日券.",
        BenefitKind.MONTHLY_COUPONS: "Coupons every month 月度券.",
        BenefitKind.EARLY_ACCESS: "Buying before the others 提前购.",
        BenefitKind.SERVICE_LINE: "A service line of its own 专属客服.",
        BenefitKind.EVENT_ACCESS: "Invitations to events 活动邀请.",
    },
)


@strawberry.interface(description="Something a tier gives besides its discount and its points factor.")
class TierBenefit:
    """What every benefit says."""

    kind: BenefitKind = strawberry.field(description="Which benefit it is.")

    @strawberry.field(
        description="Whether the store acts on it already; if not, it is shown and takes effect with its mechanism."
    )
    def in_effect(self) -> bool:
        """By the kind alone."""
        return self.kind in IN_EFFECT


@strawberry.type(description="Free shipping 包邮.")
class FreeShipping(TierBenefit):
    """From an amount."""

    from_payable: Fen = strawberry.field(
        description="For orders with goods of this amount or more, after promotions and before coupons and points, in "
        "fen; 0: always."
    )
    monthly_limit: int | None = strawberry.field(
        description="For so many orders in a month of the shop's calendar; null: for all."
    )


@strawberry.type(description="A birthday gift 生日礼: points, or a gift by its code.")
class BirthdayGift(TierBenefit):
    """Once a year."""

    points: Points = strawberry.field(description="How many points; 0 if the gift is something else.")
    gift_code: str | None = strawberry.field(description="The code of the gift, if it is not points.")


@strawberry.type(description="Coupons on the birthday 生日券.")
class BirthdayCoupons(TierBenefit):
    """Once a year."""

    count: int = strawberry.field(description="Coupons, 1 to 20.")
    template_code: str = strawberry.field(description="The code of the coupon template.")


@strawberry.type(description="Coupons every month 月度券.")
class MonthlyCoupons(TierBenefit):
    """A quota."""

    per_month: int = strawberry.field(description="Coupons a month, 1 to 100.")
    template_code: str = strawberry.field(description="The code of the coupon template.")


@strawberry.type(description="Buying before the others 提前购.")
class EarlyAccess(TierBenefit):
    """A head start."""

    minutes: int = strawberry.field(description="How many minutes before the others, 1 to 10,080.")


@strawberry.type(description="A service line of its own 专属客服.")
class ServiceLine(TierBenefit):
    """Whom to call."""

    line_code: str = strawberry.field(description="The code of the service line.")


@strawberry.type(description="Invitations to events 活动邀请.")
class EventAccess(TierBenefit):
    """Nothing beside the kind."""


AnyBenefit = Annotated[
    FreeShipping | BirthdayGift | BirthdayCoupons | MonthlyCoupons | EarlyAccess | ServiceLine | EventAccess,
    strawberry.union("AnyTierBenefit", description="A benefit with the figures of its kind."),
]


def benefit_of(benefit: Benefit) -> AnyBenefit:
    """The type that names the figure of the kind."""
    kind = benefit.kind
    match kind:
        case BenefitKind.FREE_SHIPPING:
            return FreeShipping(kind=kind, from_payable=Fen(benefit.figure), monthly_limit=benefit.monthly_limit)
        case BenefitKind.BIRTHDAY_GIFT:
            return BirthdayGift(kind=kind, points=Points(benefit.figure), gift_code=benefit.code)
        case BenefitKind.BIRTHDAY_COUPONS:
            return BirthdayCoupons(kind=kind, count=benefit.figure, template_code=benefit.code or "")
        case BenefitKind.MONTHLY_COUPONS:
            return MonthlyCoupons(kind=kind, per_month=benefit.figure, template_code=benefit.code or "")
        case BenefitKind.EARLY_ACCESS:
            return EarlyAccess(kind=kind, minutes=benefit.figure)
        case BenefitKind.SERVICE_LINE:
            return ServiceLine(kind=kind, line_code=benefit.code or "")
        case BenefitKind.EVENT_ACCESS:
            return EventAccess(kind=kind)


# Publishing


@strawberry.input(description="Free shipping 包邮.")
class FreeShippingInput:
    """From an amount."""

    from_payable: Fen = strawberry.field(description="From goods of this amount on, 0 (always) to 1,000,000,000 fen.")
    monthly_limit: int | None = strawberry.field(
        default=None, description="For so many orders a month, 1 to 1,000; all unless given."
    )


@strawberry.input(description="A birthday gift 生日礼: points above 0, or the code of a gift.")
class BirthdayGiftInput:
    """Once a year."""

    points: Points | None = strawberry.field(default=None, description="0 to 1,000,000 points; 0 unless given.")
    gift_code: str | None = strawberry.field(default=None, description="The code of the gift, if it is not points.")


@strawberry.input(description="Coupons on the birthday 生日券.")
class BirthdayCouponsInput:
    """Once a year."""

    count: int = strawberry.field(description="Coupons, 1 to 20.")
    template_code: str = strawberry.field(description="The code of the coupon template.")


@strawberry.input(description="Coupons every month 月度券.")
class MonthlyCouponsInput:
    """A quota."""

    per_month: int = strawberry.field(description="Coupons a month, 1 to 100.")
    template_code: str = strawberry.field(description="The code of the coupon template.")


@strawberry.input(description="Buying before the others 提前购.")
class EarlyAccessInput:
    """A head start."""

    minutes: int = strawberry.field(description="How many minutes before the others, 1 to 10,080.")


@strawberry.input(description="A service line of its own 专属客服.")
class ServiceLineInput:
    """Whom to call."""

    line_code: str = strawberry.field(description="The code of the service line.")


@strawberry.input(one_of=True, description="One benefit: exactly one of the fields is given.")
class TierBenefitInput:
    """Each kind with the figures that it has."""

    free_shipping: FreeShippingInput | None = strawberry.field(default=strawberry.UNSET, description="包邮.")
    birthday_gift: BirthdayGiftInput | None = strawberry.field(default=strawberry.UNSET, description="生日礼.")
    birthday_coupons: BirthdayCouponsInput | None = strawberry.field(default=strawberry.UNSET, description="生日券.")
    monthly_coupons: MonthlyCouponsInput | None = strawberry.field(default=strawberry.UNSET, description="月度券.")
    early_access: EarlyAccessInput | None = strawberry.field(default=strawberry.UNSET, description="提前购.")
    service_line: ServiceLineInput | None = strawberry.field(default=strawberry.UNSET, description="专属客服.")
    event_access: bool | None = strawberry.field(default=strawberry.UNSET, description="活动邀请; give `true`.")


def benefit_definition(given: TierBenefitInput, path: str) -> dict[str, object]:
    """The definition of one benefit. Raises: ProgrammeInvalid, for an ``eventAccess`` that is not true."""
    if given.free_shipping:
        shipping = given.free_shipping
        limit = {} if shipping.monthly_limit is None else {"monthly_limit": shipping.monthly_limit}
        return {"kind": "free_shipping", "figure": shipping.from_payable, **limit}
    if given.birthday_gift:
        gift = given.birthday_gift
        return {"kind": "birthday_gift", "figure": gift.points, "code": gift.gift_code}
    if given.birthday_coupons:
        return {
            "kind": "birthday_coupons",
            "figure": given.birthday_coupons.count,
            "code": given.birthday_coupons.template_code,
        }
    if given.monthly_coupons:
        coupons = given.monthly_coupons
        return {"kind": "monthly_coupons", "figure": coupons.per_month, "code": coupons.template_code}
    if given.early_access:
        return {"kind": "early_access", "figure": given.early_access.minutes}
    if given.service_line:
        return {"kind": "service_line", "code": given.service_line.line_code}
    if not given.event_access:
        raise invalid(f"{path}.eventAccess", Reason("must be true", "须为 true"))
    return {"kind": "event_access"}


_FIGURES: Mapping[str, tuple[str, str]] = {
    "free_shipping": ("fromPayable", ""),
    "birthday_gift": ("points", "giftCode"),
    "birthday_coupons": ("count", "templateCode"),
    "monthly_coupons": ("perMonth", "templateCode"),
    "early_access": ("minutes", ""),
    "service_line": ("", "lineCode"),
    "event_access": ("", ""),
}


def benefit_paths(given: TierBenefitInput, path: str) -> dict[str, str]:
    """Where the API has what the rule calls ``kind``, ``figure`` and ``code`` of the benefit at ``path``."""
    kind = str(benefit_definition(given, path)["kind"])
    first, *rest = kind.split("_")
    name = f"{path}.{first}{''.join(word.capitalize() for word in rest)}"
    figure, code = _FIGURES[kind]
    return {
        f"{path}.kind": name,
        f"{path}.figure": f"{name}.{figure}",
        f"{path}.code": f"{name}.{code}",
        f"{path}.monthly_limit": f"{name}.monthlyLimit",
    }
