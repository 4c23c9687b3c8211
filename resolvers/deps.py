"""What a verb is given: the clock, the zone, the platform clients, keys and windows. Made once by ``server.py``."""

from dataclasses import dataclass, field
from datetime import timedelta, tzinfo

from cache.client import Client
from loyalty.delivery.fulfilment import RECEIVE_AFTER, UNSHIPPED_AFTER
from loyalty.orders.order_quote import QUOTE_WINDOW
from loyalty.payments.after_sale import AfterSaleTerms
from loyalty.people.session import OPERATOR_REFRESH_TTL, REFRESH_TTL
from loyalty.prices.price_history import Beside
from resolvers.clock import Clock
from resolvers.group_commit import GroupCommit
from resolvers.people.seal import Seal
from resolvers.people.token import TokenIssuer
from resolvers.remembered import Remembered
from wechat.login import LoginClient
from wechat.pay import PayClient
from wechat.shipping import ShippingClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything a verb needs from outside itself. The database is not here: ``models.engine`` has it open."""

    clock: Clock
    zone: tzinfo
    redis: Client
    login: LoginClient
    pay: PayClient
    pay_notify_url: str
    member_tokens: TokenIssuer
    operator_tokens: TokenIssuer
    member_refresh_ttl: timedelta = REFRESH_TTL
    operator_refresh_ttl: timedelta = OPERATOR_REFRESH_TTL
    seal: Seal
    pay_window: timedelta
    quote_window: timedelta = QUOTE_WINDOW
    shipping: ShippingClient
    receive_after: timedelta = RECEIVE_AFTER
    unshipped_after: timedelta = UNSHIPPED_AFTER
    after_sale: AfterSaleTerms = field(default_factory=AfterSaleTerms)
    group_commit: GroupCommit = field(default_factory=GroupCommit)
    baselines: Remembered[Beside, int | None] = field(default_factory=Remembered)
