"""What the store says about itself: its clock and its calendar."""

from datetime import date, datetime

import strawberry

from loyalty.shop_time import business_day
from schema.context import Info
from schema.permissions import ForEveryone


@strawberry.type(description="The store's own clock and calendar, for countdowns that do not trust the phone's clock.")
class ServerInfo:
    """The server as a client needs to know it."""

    time: datetime = strawberry.field(description="The instant at which this request is answered.")
    business_day: date = strawberry.field(description="Today, by the shop's calendar.")
    time_zone: str = strawberry.field(description="The shop's time zone by its IANA name, such as `Asia/Shanghai`.")


def _server_info(info: Info) -> ServerInfo:
    zone = info.context.deps.zone
    now = info.context.now
    return ServerInfo(time=now, business_day=business_day(now, zone), time_zone=str(zone))


@strawberry.type
class ShopQuery:
    """Open to members and visitors."""

    server_info: ServerInfo = strawberry.field(
        resolver=_server_info, extensions=[ForEveryone()], description="The server's clock and calendar."
    )


@strawberry.type
class OperatorQuery:
    """Open to operators, also before they sign in."""

    server_info: ServerInfo = strawberry.field(
        resolver=_server_info, extensions=[ForEveryone()], description="The server's clock and calendar."
    )
