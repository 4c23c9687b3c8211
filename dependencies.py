"""From settings to everything a verb needs, and the store opened with it. Part of the composition root."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from zoneinfo import ZoneInfo

import httpx

import surroundings
from cache import engine as valkey
from cache.wechat_soft import WeChatSoft
from demo import visitor
from loyalty.payments.after_sale import AfterSaleTerms
from loyalty.refusal import Refusal
from models import engine as database
from resolvers.clock import SystemClock
from resolvers.demo_store import fill, renew
from resolvers.deps import Deps
from resolvers.people.operator import ensure_owner
from resolvers.people.seal import Seal
from resolvers.people.token import TokenIssuer
from resolvers.prepare import prepare
from schema.rates import Rates, budget
from settings import Settings, given, parse_keys, parse_pay_keys, parse_rates, parse_seal_keys, secret
from wechat.login import LoginClient
from wechat.mini import MiniProgramHost
from wechat.pay import PayClient
from wechat.pay_types import PayConfig
from wechat.shipping import ShippingClient
from wechat.token import TokenProvider

PAY_NOTICES = "/hooks/wechat/pay"
MEMBER_AUDIENCE = "member"
OPERATOR_AUDIENCE = "operator"


@asynccontextmanager
async def dependencies(settings: Settings) -> AsyncIterator[Deps]:
    """Everything a verb needs, with the database open, for as long as the block runs."""
    redis = valkey.connect(secret(settings.redis_url))
    clock = SystemClock()
    async with (
        database.database(secret(settings.database_url), pool_size=settings.database_pool),
        httpx.AsyncClient(limits=httpx.Limits(max_connections=100, max_keepalive_connections=20)) as http,
    ):
        host = MiniProgramHost(http, base_url=settings.wechat_api_base_url)
        deps = Deps(
            clock=clock,
            zone=ZoneInfo(settings.shop_zone),
            redis=redis,
            login=LoginClient(host, appid=given(settings.wechat_app_id), secret=secret(settings.wechat_app_secret)),
            pay=PayClient(_merchant(settings), http, base_url=settings.wechat_pay_base_url, now=clock.now),
            pay_notify_url=f"{settings.public_address}{PAY_NOTICES}",
            member_tokens=TokenIssuer(
                parse_keys(secret(settings.member_jwt_keys)),
                audience=MEMBER_AUDIENCE,
                ttl=timedelta(seconds=settings.member_access_ttl_s),
            ),
            operator_tokens=TokenIssuer(
                parse_keys(secret(settings.operator_jwt_keys)),
                audience=OPERATOR_AUDIENCE,
                ttl=timedelta(seconds=settings.operator_access_ttl_s),
            ),
            member_refresh_ttl=timedelta(seconds=settings.member_refresh_ttl_s),
            operator_refresh_ttl=timedelta(seconds=settings.operator_refresh_ttl_s),
            seal=Seal(parse_seal_keys(secret(settings.seal_keys))),
            pay_window=timedelta(seconds=settings.pay_window_s),
            quote_window=timedelta(seconds=settings.quote_window_s),
            shipping=ShippingClient(
                host,
                TokenProvider(
                    host,
                    WeChatSoft(redis),
                    appid=given(settings.wechat_app_id),
                    secret=secret(settings.wechat_app_secret),
                ),
                appid=given(settings.wechat_app_id),
            ),
            receive_after=timedelta(days=settings.receive_after_days),
            unshipped_after=timedelta(hours=settings.unshipped_after_hours),
            after_sale=AfterSaleTerms(
                answer=timedelta(hours=settings.after_sale_answer_hours),
                approves_on_silence=settings.after_sale_approves_on_silence,
                send_back=timedelta(days=settings.after_sale_send_back_days),
                receive=timedelta(days=settings.after_sale_receive_days),
                no_reason_days=settings.after_sale_no_reason_days,
                fault_days=settings.after_sale_fault_days,
            ),
        )
        yield deps
        # What was written and answered is still being told to the gates of flash sales.
        await deps.group_commit.idle()
    await redis.aclose()


def _merchant(settings: Settings) -> PayConfig:
    keys = parse_pay_keys(given(settings.wechat_pay_keys))
    return PayConfig(
        appid=given(settings.wechat_app_id),
        mchid=given(settings.wechat_mch_id),
        private_key_pem=secret(settings.wechat_mch_private_key),
        serial=given(settings.wechat_mch_serial),
        apiv3_key=secret(settings.wechat_api_v3_key),
        verifying_keys=keys,
        preferred_serial=next(iter(keys)),
    )


def rates_of(settings: Settings) -> Rates:
    """The limits at both doors.

    Raises:
        surroundings.StartRefused: an operation is named that has no limit to change.
    """
    standing = Rates(
        member=budget(settings.rate_member_points, settings.rate_member_points_per_s),
        operator=budget(settings.rate_operator_points, settings.rate_operator_points_per_s),
        visitor=budget(settings.rate_visitor_points, settings.rate_visitor_points_per_s),
    )
    try:
        return standing.changed(parse_rates(settings.rate_operations))
    except ValueError as error:
        raise surroundings.StartRefused(f"YOULI_RATE_OPERATIONS: {error}") from None


async def opened(deps: Deps, settings: Settings) -> str | None:
    """The first version of each programme and the first owner are there.

    Returns the owner's password if one was made up just now: it is shown once.

    Raises:
        StartRefused: the owner's login or password cannot be taken.
    """
    await prepare(deps.clock.now())
    password = settings.owner_password.get_secret_value() if settings.owner_password else None
    try:
        return await ensure_owner(deps, login=settings.owner_login, password=password)
    except Refusal as refused:
        raise surroundings.StartRefused(f"YOULI_OWNER_LOGIN or _PASSWORD: {refused.message('en')}") from None


async def ready_to_serve(settings: Settings) -> str | None:
    await surroundings.reachable(settings)
    await surroundings.complete(settings)
    async with dependencies(settings) as deps:
        return await opened(deps, settings)


async def ready_to_try(settings: Settings, *, sandbox: bool) -> str | None:
    """All that ``serve`` asks for, made where it is missing, and goods; the demo member's token where that can be."""
    await surroundings.reachable(settings)
    await surroundings.migrated(settings)
    await surroundings.complete(settings)
    async with dependencies(settings) as deps:
        await opened(deps, settings)
        await fill(deps)
        await renew(deps)
        return await visitor.settle_in(deps, platform_url=settings.wechat_api_base_url) if sandbox else None
