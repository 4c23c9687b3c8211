"""The door of WeChat Pay: every request is verified over the bytes that came, every success is signed.

Official source: the API v3 rules on signatures, on answers and on the public-key mode.
"""

import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from wechat.errors import SignatureInvalid
from wechat.pay_crypto import SCHEME, SKEW_S, Keyring, Signer, answer_message, request_message
from wechat.sandbox.answers import PayRefusal
from wechat.sandbox.credentials import Credentials, SigningKey, merchant_public_pem

_PAIR: Final = re.compile(r'(\w+)="([^"]*)"')
_PARTS: Final = {"mchid", "nonce_str", "timestamp", "serial_no", "signature"}
SIGN_NUMBER: Final = 268443699


class PayGate:
    """Verifies the merchant and signs for the platform. Several platform keys exist at once, see `notice_serial`."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self._merchant = Keyring({credentials.merchant_serial: merchant_public_pem(credentials)})
        self._signers: dict[str, Signer] = {}
        self.notice_serial = credentials.platform_keys[0].serial
        for key in credentials.platform_keys:
            self._signers[key.serial] = Signer(key.private_pem)

    def add_key(self, key: SigningKey) -> None:
        """One more platform key; the merchant learns of it from the operator's configuration."""
        self.credentials = self.credentials.with_key(key)
        self._signers[key.serial] = Signer(key.private_pem)

    def check(
        self, method: str, path_and_query: str, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> str | None:
        """Admit a request or raise `PayRefusal`. Returns the serial with which the merchant wants to be answered."""
        if not headers.get("user-agent", "").strip():
            raise PayRefusal(400, "PARAM_ERROR", "Http头缺少User-Agent")
        accept = headers.get("accept", "")
        if not accept or ("application/json" not in accept and "*/*" not in accept):
            raise PayRefusal(400, "PARAM_ERROR", "Http头Accept必须包含application/json")
        if body and not headers.get("content-type", "").startswith("application/json"):
            raise PayRefusal(415, "PARAM_ERROR", "Http头Content-Type必须为application/json")
        self._check_signature(method, path_and_query, headers.get("authorization", ""), body, now)
        wanted = headers.get("wechatpay-serial")
        if wanted is not None and wanted not in self._signers:
            raise PayRefusal(500, "SYSTEM_ERROR", "系统错误", SIGN_NUMBER)
        return wanted

    def _check_signature(self, method: str, path_and_query: str, header: str, body: bytes, now: datetime) -> None:
        scheme, _, rest = header.partition(" ")
        pairs = dict(_PAIR.findall(rest))
        if scheme != SCHEME or set(pairs) != _PARTS:
            raise PayRefusal(401, "SIGN_ERROR", "Http头Authorization值格式错误", SIGN_NUMBER)
        if pairs["mchid"] != self.credentials.mchid:
            raise PayRefusal(400, "MCH_NOT_EXISTS", "商户号不存在")
        if pairs["serial_no"] != self.credentials.merchant_serial:
            raise PayRefusal(401, "SIGN_ERROR", "商户证书序列号有误", SIGN_NUMBER)
        timestamp = pairs["timestamp"]
        if not (timestamp.isascii() and timestamp.isdecimal()) or not 0 < len(pairs["nonce_str"]) <= 32:
            raise PayRefusal(401, "SIGN_ERROR", "时间戳或随机串格式错误", SIGN_NUMBER)
        if abs(now.timestamp() - int(timestamp)) > SKEW_S:
            raise PayRefusal(401, "SIGN_ERROR", "时间戳与服务器时间相差超过5分钟", SIGN_NUMBER)
        message = request_message(method, path_and_query, timestamp, pairs["nonce_str"], body)
        try:
            self._merchant.verify(pairs["serial_no"], message, pairs["signature"], now)
        except SignatureInvalid:
            raise PayRefusal(401, "SIGN_ERROR", "签名错误，请检查后再试", SIGN_NUMBER) from None

    def sign(self, body: bytes, now: datetime, serial: str | None = None, *, shift_s: int = 0) -> dict[str, str]:
        """The ``Wechatpay-*`` headers over `body`; `shift_s` makes the timestamp (honestly signed) older or newer."""
        serial = serial or self.notice_serial
        timestamp, nonce = str(int(now.timestamp()) + shift_s), secrets.token_hex(16)
        return {
            "Wechatpay-Timestamp": timestamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": self._signers[serial].sign(answer_message(timestamp, nonce, body)),
            "Wechatpay-Serial": serial,
            "Wechatpay-Signature-Type": SCHEME,
        }

    def knows(self, serial: str) -> bool:
        """Is there a platform key of this serial?"""
        return serial in self._signers
