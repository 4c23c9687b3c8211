"""The phone number behind a code of the mini-program's phone button.

Official source: "getPhoneNumber". The code is not the login code; it works once, within 5 minutes of the tap.
"""

from dataclasses import dataclass, field

from wechat.mini import MiniProgramHost
from wechat.token import TokenProvider
from wechat.wire import part, text


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """``phone_number`` carries the country code when it is foreign; ``pure_phone_number`` never does."""

    phone_number: str = field(repr=False)
    pure_phone_number: str = field(repr=False)
    country_code: str


class PhoneClient:
    """``POST /wxa/business/getuserphonenumber``."""

    def __init__(self, host: MiniProgramHost, tokens: TokenProvider) -> None:
        self._host = host
        self._tokens = tokens

    async def number(self, code: str, *, openid: str | None = None) -> PhoneNumber:
        """Spend `code`; with `openid` WeChat also checks that the code is this person's. Raises as the login does."""
        body = {"code": code} if openid is None else {"code": code, "openid": openid}
        answer = await self._tokens.using(
            lambda token: self._host.post("/wxa/business/getuserphonenumber", {"access_token": token}, body)
        )
        info = part(answer, "phone_info")
        # The official samples give the country code once as a number and once as a text.
        country = info.get("countryCode")
        return PhoneNumber(
            phone_number=text(info, "phoneNumber"),
            pure_phone_number=text(info, "purePhoneNumber"),
            country_code=str(country) if isinstance(country, int) else text(info, "countryCode"),
        )
