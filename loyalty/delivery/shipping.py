"""What it costs to ship an order: fees by piece or weight and region, free from a threshold or by the tier.

Source: docs/rules/shipping.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self
from uuid import UUID

from loyalty.people.address import PROVINCES
from loyalty.programme import DUPLICATE, REQUIRED, Definition, Fields, Reason, invalid
from loyalty.refusal import Refusal
from loyalty.tiers.tier_benefit import Benefit, BenefitKind, ships_free
from loyalty.typed import half_width

MAX_REGIONS = 50
MAX_CODES = 500
MAX_UNITS = 1_000_000
MAX_FIRST_FEN = 1_000_000
MAX_FURTHER_FEN = 100_000

_NOT_A_REGION = Reason(
    "must be the code of a province (2 digits), city (4) or district (6)",
    "须为省（2 位）、市（4 位）或区县（6 位）代码",
)


class ChargeBy(StrEnum):
    """What a template counts."""

    PIECE = "piece"
    WEIGHT = "weight"


class Waiver(StrEnum):
    """Who takes a fee off that the templates would charge."""

    TIER = "tier"


class AddressRequired(Refusal):
    """Goods that are shipped for a fee need an address."""

    code = "ADDRESS_REQUIRED"
    zh = "请选择收货地址"
    en = "Please choose an address."


class RegionNotDelivered(Refusal):
    """The template of ``sku_id`` does not deliver to the region."""

    code = "REGION_NOT_DELIVERED"
    zh = "部分商品不支持配送至该地区"
    en = "Some goods are not delivered to this region."


class ShippingTemplateNotFound(Refusal):
    """No such template, for an operator."""

    code = "SHIPPING_TEMPLATE_NOT_FOUND"
    zh = "运费模板不存在"
    en = "There is no such shipping template."


class ShippingTemplateCodeTaken(Refusal):
    """Another template has this code."""

    code = "SHIPPING_TEMPLATE_CODE_TAKEN"
    zh = "运费模板编码已被使用"
    en = "This template code is taken."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The fees of some regions; units are pieces or grams, fees are fen.

    Both thresholds are reached exactly by equality. Of two, both are needed unless ``free_on_either``.
    """

    first_units: int = 1
    first_fen: int
    further_units: int = 1
    further_fen: int = 0
    free_from_fen: int | None = None
    free_from_pieces: int | None = None
    free_on_either: bool = False

    def alone(self, units: int) -> int:
        """The fee of so many units that are charged from the first on."""
        return self.first_fen + self.on_top(max(0, units - self.first_units))

    def on_top(self, units: int) -> int:
        """The fee of so many units that another first fee covers the beginning of."""
        return -(-units // self.further_units) * self.further_fen

    def ships_free(self, *, amount_fen: int, pieces: int) -> bool:
        """Whether goods of this amount and number ship free."""
        reached = [
            have >= wanted
            for have, wanted in ((amount_fen, self.free_from_fen), (pieces, self.free_from_pieces))
            if wanted is not None
        ]
        return bool(reached) and (any(reached) if self.free_on_either else all(reached))

    def definition(self) -> dict[str, object]:
        """The definition that reads back to equal fees."""
        return {
            "first_units": self.first_units,
            "first_fen": self.first_fen,
            "further_units": self.further_units,
            "further_fen": self.further_fen,
            "free_from_fen": self.free_from_fen,
            "free_from_pieces": self.free_from_pieces,
            "free_on_either": self.free_on_either,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRate:
    """The fees of the places whose codes begin with one of ``codes``, unless a longer code says otherwise."""

    codes: tuple[str, ...]
    rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingTerms:
    """One version of a template's terms. ``otherwise`` None: places that no region names are not delivered to."""

    charge_by: ChargeBy = ChargeBy.PIECE
    regions: tuple[RegionRate, ...] = ()
    otherwise: Rate | None = None
    undelivered: tuple[str, ...] = ()

    @classmethod
    def parse(cls, definition: Definition) -> Self:
        """Read a definition. Raises: ProgrammeInvalid, which names the first field that cannot work."""
        fields = Fields(definition)
        charge_by = fields.choice("charge_by", ChargeBy, ChargeBy.PIECE)
        named: set[str] = set()
        regions = []
        for item in fields.parts("regions", MAX_REGIONS):
            codes = _parse_codes(item, "codes", named)
            if not codes:
                raise invalid(item.path("codes"), REQUIRED)
            regions.append(RegionRate(codes=codes, rate=_parse_rate(item)))
        otherwise = fields.part("otherwise")
        terms = cls(
            charge_by=charge_by,
            regions=tuple(regions),
            otherwise=_parse_rate(otherwise) if otherwise else None,
            undelivered=_parse_codes(fields, "undelivered", named),
        )
        fields.done()
        return terms

    def definition(self) -> dict[str, object]:
        """The definition that ``parse`` reads back to equal terms."""
        return {
            "charge_by": self.charge_by.value,
            "regions": [{"codes": list(one.codes), **one.rate.definition()} for one in self.regions],
            "otherwise": self.otherwise.definition() if self.otherwise else None,
            "undelivered": list(self.undelivered),
        }

    def rate_for(self, region_code: str) -> Rate | None:
        """The fees of a region by the longest code that it begins with; None: it is not delivered to."""
        by_code: dict[str, Rate | None] = {code: one.rate for one in self.regions for code in one.codes}
        by_code |= dict.fromkeys(self.undelivered)
        for length in (6, 4, 2):
            if region_code[:length] in by_code:
                return by_code[region_code[:length]]
        return self.otherwise


def _parse_codes(fields: Fields, name: str, named: set[str]) -> tuple[str, ...]:
    codes = tuple(half_width(code) for code in fields.texts(name, MAX_CODES))
    for position, code in enumerate(codes):
        path = f"{fields.path(name)}[{position}]"
        digits = code.isascii() and code.isdigit() and len(code) in (2, 4, 6)
        if not digits or code[:2] not in PROVINCES:
            raise invalid(path, _NOT_A_REGION)
        if code in named:
            raise invalid(path, DUPLICATE)
        named.add(code)
    return codes


def _parse_rate(fields: Fields) -> Rate:
    rate = Rate(
        first_units=fields.integer("first_units", 1, MAX_UNITS, 1),
        first_fen=fields.integer("first_fen", 0, MAX_FIRST_FEN),
        further_units=fields.integer("further_units", 1, MAX_UNITS, 1),
        further_fen=fields.integer("further_fen", 0, MAX_FURTHER_FEN, 0),
        free_from_fen=fields.optional_integer("free_from_fen", 1, 1_000_000_000),
        free_from_pieces=fields.optional_integer("free_from_pieces", 1, 100_000),
        free_on_either=fields.boolean("free_on_either", False),
    )
    fields.done()
    return rate


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateInForce:
    """A template as an order meets it: its code, and the version of its terms."""

    code: str
    version_id: UUID
    terms: ShippingTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingLine:
    """One line as shipping meets it. ``goods_fen`` is what it costs after promotions, before coupons and points.

    ``template`` None: it ships free everywhere.
    """

    sku_id: UUID
    quantity: int
    goods_fen: int
    weight_g: int = 0
    template: TemplateInForce | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierShipping:
    """The tier's free shipping, and how many orders of this shop month have used it."""

    benefit: Benefit
    used_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingPart:
    """One template's share of the fee. ``missing_*`` is what its goods lack to ship free; None: nothing, or never.

    ``by_money`` tells whether ``missing_fen`` alone would be enough, ``by_pieces`` whether ``missing_pieces`` would.
    """

    code: str
    version_id: UUID
    fee_fen: int
    free: bool
    missing_fen: int | None = None
    missing_pieces: int | None = None
    by_money: bool = False
    by_pieces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingPieces:
    """So many more pieces of the goods of one template, which cost ``cost_fen`` if they are the cheapest of these."""

    pieces: int
    cost_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingQuote:
    """What shipping costs. ``full_fen`` is the sum of the parts, ``fee_fen`` what is left of it after ``waived_by``.

    ``missing_fen`` is the least amount of further goods that makes the order ship free; None: it does, or money alone
    never makes it. ``missing_pieces`` are further pieces that do; None: it does, they alone never do, or several
    templates cost a fee.
    """

    fee_fen: int
    full_fen: int
    waived_by: Waiver | None
    missing_fen: int | None
    missing_pieces: MissingPieces | None = None
    parts: tuple[ShippingPart, ...]


NOT_SHIPPED = ShippingQuote(fee_fen=0, full_fen=0, waived_by=None, missing_fen=None, parts=())
"""The quote of an order that goes to no address."""


def admit_without_address(lines: Sequence[ShippingLine]) -> ShippingQuote:
    """The quote of an order without an address. Raises: AddressRequired, while a line has a template."""
    if any(line.template is not None for line in lines):
        raise AddressRequired
    return NOT_SHIPPED


def fee(lines: Sequence[ShippingLine], *, region_code: str, tier: TierShipping | None = None) -> ShippingQuote:
    """What it costs to ship these lines to a region, a six-digit code.

    Raises: RegionNotDelivered, for the first line whose template does not deliver there.
    """
    groups: dict[str, list[ShippingLine]] = {}
    for line in lines:
        if line.template is not None:
            groups.setdefault(line.template.code, []).append(line)
    parts = [_part(group, region_code) for group in groups.values()]
    charged = _charge(parts)
    full_fen = sum(part.fee_fen for part in charged)
    goods_fen = sum(line.goods_fen for line in lines)
    waived_by = Waiver.TIER if full_fen and tier and _tier_ships_free(tier, goods_fen) else None
    fee_fen = 0 if waived_by else full_fen
    return ShippingQuote(
        fee_fen=fee_fen,
        full_fen=full_fen,
        waived_by=waived_by,
        missing_fen=_missing(charged, tier, goods_fen) if fee_fen else None,
        missing_pieces=_missing_pieces(charged, groups) if fee_fen else None,
        parts=charged,
    )


def _part(group: Sequence[ShippingLine], region_code: str) -> tuple[ShippingPart, Rate, int]:
    """One template's lines: free or not, with the fees that apply and the units that they are for."""
    template = group[0].template
    assert template is not None, "a group is of a template"
    rate = template.terms.rate_for(region_code)
    if rate is None:
        raise RegionNotDelivered(sku_id=str(group[0].sku_id))
    pieces = sum(line.quantity for line in group)
    goods_fen = sum(line.goods_fen for line in group)
    grams = sum(line.quantity * line.weight_g for line in group)
    free = rate.ships_free(amount_fen=goods_fen, pieces=pieces)
    missing_fen = None if free else _lacking(rate.free_from_fen, goods_fen)
    missing_pieces = None if free else _lacking(rate.free_from_pieces, pieces)
    part = ShippingPart(
        code=template.code,
        version_id=template.version_id,
        fee_fen=0,
        free=free,
        missing_fen=missing_fen,
        missing_pieces=missing_pieces,
        by_money=missing_fen is not None and (missing_pieces is None or rate.free_on_either),
        by_pieces=missing_pieces is not None and (missing_fen is None or rate.free_on_either),
    )
    return part, rate, pieces if template.terms.charge_by is ChargeBy.PIECE else grams


def _lacking(wanted: int | None, have: int) -> int | None:
    return None if wanted is None or have >= wanted else wanted - have


def _charge(parts: Sequence[tuple[ShippingPart, Rate, int]]) -> tuple[ShippingPart, ...]:
    """The parts with their fees: the highest first fee once, of equal ones the cheapest, and the others on top."""
    charged = [at for at, (part, _, _) in enumerate(parts) if not part.free]
    fees = dict.fromkeys(range(len(parts)), 0) | {at: parts[at][1].on_top(parts[at][2]) for at in charged}
    if charged:
        highest = max(parts[at][1].first_fen for at in charged)
        first = min(
            (at for at in charged if parts[at][1].first_fen == highest),
            key=lambda at: parts[at][1].alone(parts[at][2]) - fees[at],
        )
        fees[first] = parts[first][1].alone(parts[first][2])
    return tuple(replace(part, fee_fen=fees[at]) for at, (part, _, _) in enumerate(parts))


def _tier_ships_free(tier: TierShipping, goods_fen: int) -> bool:
    return _has_quota(tier) and ships_free(tier.benefit, payable_fen=goods_fen)


def _has_quota(tier: TierShipping) -> bool:
    limit = tier.benefit.monthly_limit
    return limit is None or tier.used_count < limit


def _missing(parts: Sequence[ShippingPart], tier: TierShipping | None, goods_fen: int) -> int | None:
    ways: list[int] = []
    costly = [part for part in parts if not part.free]
    if all(part.by_money for part in costly):
        ways.append(sum(part.missing_fen or 0 for part in costly))
    if tier is not None and _has_quota(tier) and tier.benefit.kind is BenefitKind.FREE_SHIPPING:
        ways.append(tier.benefit.figure - goods_fen)
    return min(ways, default=None)


def _missing_pieces(
    parts: Sequence[ShippingPart], groups: Mapping[str, Sequence[ShippingLine]]
) -> MissingPieces | None:
    costly = [part for part in parts if not part.free]
    if len(costly) != 1 or not costly[0].by_pieces or costly[0].missing_pieces is None:
        return None
    piece_fen = min(line.goods_fen // line.quantity for line in groups[costly[0].code])
    return MissingPieces(pieces=costly[0].missing_pieces, cost_fen=costly[0].missing_pieces * piece_fen)


def shares(quote: ShippingQuote) -> list[Mapping[str, object]]:
    """The parts as an order keeps them."""
    return [
        {"code": part.code, "version_id": str(part.version_id), "fee_fen": part.fee_fen, "free": part.free}
        for part in quote.parts
    ]
