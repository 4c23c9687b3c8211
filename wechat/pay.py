"""WeChat Pay API v3 for a mini-program store: prepay, query, close, refund, trade bill, notifications.

Official sources: the API v3 rules (signatures, answers, callbacks, error codes) and the JSAPI payment product.
Amounts are whole fen. Every 2xx answer is verified before it is used, the empty 204 included; a refusal is a hint and
never a final state: whoever meets one queries. The order of truth is the store's affair, see its payment rules.
"""

import secrets
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from wechat.bill import BILL_LIMIT, CHINA_STANDARD_TIME, TradeBill, parse, unpack
from wechat.errors import (
    AnswerUnreadable,
    AnswerUnverified,
    NoticeUnreadable,
    NoticeUnsupported,
    OutcomeUnknown,
    SignatureInvalid,
    Unreachable,
    WeChatError,
    pay_error,
)
from wechat.pay_crypto import SCHEME, Keyring, Signer, check_signed, open_sealed, payment_message, request_message
from wechat.pay_types import (
    OUT_REFUND_NO,
    OUT_TRADE_NO,
    Notice,
    PayConfig,
    PayParams,
    RefundNotice,
    RefundResult,
    Transaction,
)
from wechat.transport import ANSWER_LIMIT, TIMEOUT, exchange, json_bytes, json_object, pause
from wechat.wire import instant_or_none, part, text, text_or_none

USER_AGENT: Final = "youli/1 (+wechat-pay-v3)"


class PayClient:
    """One merchant's door to WeChat Pay.

    `http` is shared and closed by its owner; `now` gives aware times; `base_url` has no path
    ("https://api.mch.weixin.qq.com") and `standby_url` is tried when no connection to it can be made. A call is
    repeated by itself only where that is safe: the same bytes after a refused connection, a 429 or a 5xx, at most
    twice for queries and once for prepay and close. Refunds are never repeated here once they were sent: the caller's
    request row does that, with the same number. A timeout is never repeated here, so that a person waits 13 seconds
    at most for each call.
    """

    def __init__(
        self,
        config: PayConfig,
        http: httpx.AsyncClient,
        *,
        base_url: str,
        now: Callable[[], datetime],
        standby_url: str | None = None,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> None:
        self.config = config
        self._http = http
        self._base_urls = [_without_path(base_url)] + ([_without_path(standby_url)] if standby_url else [])
        self._now = now
        self._timeout = timeout
        self._signer = Signer(config.private_key_pem)
        self._keyring = Keyring(config.verifying_keys)

    async def prepay(
        self,
        *,
        out_trade_no: str,
        description: str,
        total_fen: int,
        openid: str,
        notify_url: str,
        time_expire: datetime,
        attach: str | None = None,
    ) -> str:
        """Open an order (or meet it again) and return its ``prepay_id``, good for 2 hours.

        The same number must come with the same parameters for ever, so `time_expire` (at least 1 minute ahead) is
        stored with the attempt, not computed anew. `description` is cut at 127 characters.
        Raises `OrderPaid`, `OrderClosed`, `OutTradeNoUsed`, `RequestRefused`, `Misconfigured`, `FrequencyLimited`,
        `Unreachable`, `OutcomeUnknown` (repeat with the same number or query).
        """
        assert OUT_TRADE_NO.fullmatch(out_trade_no), "an out_trade_no has 6 to 32 characters of 0-9A-Za-z_-|*"
        assert total_fen >= 1, "WeChat does not take orders of nothing"
        assert time_expire.tzinfo is not None, "time_expire is aware"
        body: dict[str, Any] = {
            "appid": self.config.appid,
            "mchid": self.config.mchid,
            "description": description[:127],
            "out_trade_no": out_trade_no,
            "time_expire": time_expire.astimezone(CHINA_STANDARD_TIME).replace(microsecond=0).isoformat(),
            "notify_url": notify_url,
            "amount": {"total": total_fen, "currency": "CNY"},
            "payer": {"openid": openid},
        }
        if attach is not None:
            body["attach"] = attach
        answer = await self._call("POST", "/v3/pay/transactions/jsapi", body, attempts=2)
        return text(json_object(answer), "prepay_id")

    def pay_params(self, prepay_id: str) -> PayParams:
        """What the mini-program hands to ``wx.requestPayment``. Its success there is only a reason to query."""
        timestamp, nonce, package = str(int(self._now().timestamp())), _nonce(), f"prepay_id={prepay_id}"
        return PayParams(
            time_stamp=timestamp,
            nonce_str=nonce,
            package=package,
            sign_type="RSA",
            pay_sign=self._signer.sign(payment_message(self.config.appid, timestamp, nonce, package)),
        )

    async def query(self, out_trade_no: str) -> Transaction:
        """The order as WeChat has it now. Raises `OrderNotExist` for a number that was never ordered."""
        path = f"/v3/pay/transactions/out-trade-no/{quote(out_trade_no, safe='')}?mchid={self.config.mchid}"
        return Transaction.from_wire(json_object(await self._call("GET", path, None, attempts=3)))

    async def close(self, out_trade_no: str) -> None:
        """Close an unpaid order; closing a closed one is a success too.

        Raises `OrderPaid` when the payer was faster: query and book it. `OrderNotExist` when it was never opened.
        """
        path = f"/v3/pay/transactions/out-trade-no/{quote(out_trade_no, safe='')}/close"
        await self._call("POST", path, {"mchid": self.config.mchid}, attempts=2)

    async def refund(
        self,
        *,
        out_trade_no: str,
        out_refund_no: str,
        refund_fen: int,
        total_fen: int,
        reason: str,
        notify_url: str | None = None,
    ) -> RefundResult:
        """Ask for a refund of `refund_fen` out of the order's `total_fen`. Accepted is not done: see the status.

        Within 1 year of the payment, at most 50 per order, together at most the total. After any unclear error repeat
        with the *same* number: a new number refunds twice. `reason` is shown to the payer and cut at 80 characters.
        Raises `RefundNotExist` (no such order), `BalanceTooLow`, `RequestRefused`, `FrequencyLimited`,
        `OutcomeUnknown`.
        """
        assert OUT_REFUND_NO.fullmatch(out_refund_no), "an out_refund_no has 1 to 64 characters of 0-9A-Za-z_-|*@"
        assert 1 <= refund_fen <= total_fen, "a refund is a part of its order"
        body: dict[str, Any] = {
            "out_trade_no": out_trade_no,
            "out_refund_no": out_refund_no,
            "reason": reason[:80],
            "amount": {"refund": refund_fen, "total": total_fen, "currency": "CNY"},
        }
        if notify_url is not None:
            body["notify_url"] = notify_url
        return RefundResult.from_wire(
            json_object(await self._call("POST", "/v3/refund/domestic/refunds", body, attempts=1))
        )

    async def query_refund(self, out_refund_no: str) -> RefundResult:
        """The refund as WeChat has it now; worth asking a minute after the request. Raises `RefundNotExist`."""
        path = f"/v3/refund/domestic/refunds/{quote(out_refund_no, safe='')}"
        return RefundResult.from_wire(json_object(await self._call("GET", path, None, attempts=3)))

    async def trade_bill(self, day: date) -> TradeBill:
        """All payments and refunds of `day` (China Standard Time); ready after 10:00 on the next day, kept 3 months.

        The address and the hash come signed, the file itself does not, so the hash is what vouches for it. Raises
        `BillNotReady`, `BillAbsent` (no trade on that day), `AnswerUnreadable`.
        """
        apply = f"/v3/bill/tradebill?bill_date={day.isoformat()}&bill_type=ALL&tar_type=GZIP"
        answer = json_object(await self._call("GET", apply, None, attempts=3))
        if text(answer, "hash_type") != "SHA1":
            raise AnswerUnreadable("ANSWER_UNREADABLE", "the bill's hash is not SHA1")
        # Only path and query are taken over, so a signed request never goes to another host than the one configured.
        address = urlsplit(text(answer, "download_url"))
        if not address.path.startswith("/v3/billdownload/"):
            raise AnswerUnreadable("ANSWER_UNREADABLE", "the bill's address is not a bill download")
        path = address.path + (f"?{address.query}" if address.query else "")
        packed = await self._call("GET", path, None, attempts=3, signed_answer=False, limit=BILL_LIMIT)
        return parse(day, unpack(packed, text(answer, "hash_value")))

    def verify_notice(self, headers: Mapping[str, str], raw_body: bytes) -> Notice:
        """Check, decrypt and read a notification; `raw_body` is what was received, byte for byte.

        Raises `SignatureInvalid` (answer 4xx, keep nothing), `NoticeUnreadable` (alarm: the APIv3 key may be wrong) or
        `NoticeUnsupported` (genuine, of an event the store does not handle, whatever is in it). Amount, merchant, app
        and payer are for the caller to compare with its own order.
        """
        check_signed(self._keyring, {name.lower(): value for name, value in headers.items()}, raw_body, self._now())
        try:
            wire = json_object(raw_body)
            notice_id, event_type = text(wire, "id"), text(wire, "event_type")
            if event_type != "TRANSACTION.SUCCESS" and not event_type.startswith("REFUND."):
                raise NoticeUnsupported(event_type, "no handler for this event")
            sealed = part(wire, "resource")
            if text(sealed, "algorithm") != "AEAD_AES_256_GCM":
                raise NoticeUnreadable("NOTICE_UNREADABLE", "an unknown kind of encryption")
            plain = json_object(
                open_sealed(
                    self.config.apiv3_key,
                    text(sealed, "nonce"),
                    text_or_none(sealed, "associated_data") or "",
                    text(sealed, "ciphertext"),
                )
            )
            if event_type == "TRANSACTION.SUCCESS":
                resource: Transaction | RefundNotice = Transaction.from_wire(plain)
            else:
                resource = RefundNotice.from_wire(plain)
            return Notice(
                id=notice_id,
                event_type=event_type,
                summary=text_or_none(wire, "summary") or "",
                create_time=instant_or_none(wire, "create_time"),
                resource=resource,
                raw=raw_body,
            )
        except AnswerUnreadable as error:
            raise NoticeUnreadable("NOTICE_UNREADABLE", error.message) from error

    async def _call(
        self,
        method: str,
        path_and_query: str,
        body: Mapping[str, Any] | None,
        *,
        attempts: int,
        signed_answer: bool = True,
        limit: int = ANSWER_LIMIT,
    ) -> bytes:
        content = b"" if body is None else json_bytes(body)
        attempt = 0
        while True:
            attempt += 1
            base_url = self._base_urls[(attempt - 1) % len(self._base_urls)]
            try:
                return await self._once(method, base_url, path_and_query, content, signed_answer, limit)
            except WeChatError as error:
                # Nothing was sent when no connection could be made, so even a refund may try the other address.
                most = max(attempts, 2) if isinstance(error, Unreachable) else attempts
                lasting = not error.retriable or error.code in ("TIMEOUT", "ANSWER_UNREADABLE")
                if lasting or attempt >= most:
                    raise
            await pause(attempt)

    async def _once(
        self, method: str, base_url: str, path_and_query: str, content: bytes, signed_answer: bool, limit: int
    ) -> bytes:
        request = self._http.build_request(
            method,
            base_url + path_and_query,
            content=content or None,
            headers={
                "Accept": "application/json" if signed_answer else "*/*",
                "Accept-Encoding": "identity",
                "User-Agent": USER_AGENT,
                "Wechatpay-Serial": self.config.preferred_serial,
                **({"Content-Type": "application/json"} if content else {}),
            },
            timeout=self._timeout,
        )
        # The path is read back from the request, so what is signed is what httpx sends, escapes included.
        request.headers["Authorization"] = self._authorization(method, request.url.raw_path.decode("ascii"), content)
        response, answer = await exchange(self._http, request, limit=limit)
        trace = response.headers.get("request-id")
        if not 200 <= response.status_code < 300:
            raise _refusal(response.status_code, answer, trace)
        if signed_answer:
            try:
                check_signed(self._keyring, response.headers, answer, self._now())
            except SignatureInvalid as error:
                raise AnswerUnverified(error.code, error.message, trace=trace) from error
        return answer

    def _authorization(self, method: str, path_and_query: str, content: bytes) -> str:
        timestamp, nonce = str(int(self._now().timestamp())), _nonce()
        signature = self._signer.sign(request_message(method, path_and_query, timestamp, nonce, content))
        return (
            f'{SCHEME} mchid="{self.config.mchid}",nonce_str="{nonce}",timestamp="{timestamp}",'
            f'serial_no="{self.config.serial}",signature="{signature}"'
        )


def _refusal(status: int, answer: bytes, trace: str | None) -> WeChatError:
    try:
        wire = json_object(answer)
        return pay_error(status, text(wire, "code"), text_or_none(wire, "message") or "", trace=trace)
    except AnswerUnreadable:
        # A gateway in between answered; below 500 that says nothing about the effect either.
        return OutcomeUnknown(f"HTTP_{status}", "an answer without WeChat's error body", trace=trace)


def _nonce() -> str:
    return secrets.token_hex(16)


def _without_path(url: str) -> str:
    address = urlsplit(url)
    if address.scheme not in ("http", "https") or not address.netloc or address.path not in ("", "/") or address.query:
        raise ValueError(f"{url!r} must be a scheme and a host only")
    return f"{address.scheme}://{address.netloc}"
