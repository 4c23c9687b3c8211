"""Notifications as bytes and headers, honest or spoiled on order.

Official sources: "Payment notification" and "Refund notification" of API v3. A spoiled notice differs from an honest
one in exactly what its script says; a forged content is still sealed and signed, as a leaked key would allow.
"""

import base64
import secrets
from typing import TYPE_CHECKING, Any

from wechat.pay_crypto import PROBE_PREFIX, seal
from wechat.sandbox.answers import wire
from wechat.sandbox.records import Delivery
from wechat.sandbox.text import china_time

if TYPE_CHECKING:
    from wechat.sandbox.world import World

SUMMARIES = {
    "TRANSACTION.SUCCESS": "支付成功",
    "REFUND.SUCCESS": "退款成功",
    "REFUND.ABNORMAL": "退款异常",
    "REFUND.CLOSED": "退款关闭",
}


def letter(world: "World", delivery: Delivery) -> tuple[dict[str, str], bytes]:
    """Headers and body of the next attempt of `delivery`."""
    spoil = spoil_now(delivery)
    kind = "transaction" if delivery.event_type.startswith("TRANSACTION") else "refund"
    nonce = secrets.token_hex(6)
    key = secrets.token_hex(16) if spoil.get("tamper") == "key" else world.credentials.apiv3_key
    ciphertext = seal(key, nonce, kind, wire(forged(delivery.resource, spoil.get("forge", {}))))
    if spoil.get("tamper") == "ciphertext":
        ciphertext = _with_a_flipped_bit(ciphertext)
    body = wire(
        {
            "id": delivery.id,
            "create_time": china_time(delivery.made_s),
            "resource_type": "encrypt-resource",
            "event_type": delivery.event_type,
            "summary": SUMMARIES[delivery.event_type],
            "resource": {
                "original_type": kind,
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": ciphertext,
                "associated_data": kind,
                "nonce": nonce,
            },
        }
    )
    headers = _headers(world, body, spoil)
    if spoil.get("tamper") == "body":
        body = body.replace(b'"id":"', b'"id":"X', 1)
    return headers, body


def spoil_now(delivery: Delivery) -> dict[str, Any]:
    """What is wrong with the next attempt; nothing any more once the first so many are over."""
    first = delivery.spoil.get("first_attempts")
    return delivery.spoil if first is None or len(delivery.attempts) < first else {}


def forged(resource: dict[str, Any], forge: dict[str, Any]) -> dict[str, Any]:
    """`resource` with the forged values in their places."""
    false = {**resource, "amount": dict(resource["amount"])}
    for name, value in forge.items():
        if name in ("total_fen", "payer_total_fen", "refund_fen"):
            false["amount"][name.removesuffix("_fen")] = value
        elif name == "openid":
            false["payer"] = {"openid": value}
        else:
            false[name] = value
    return false


def _headers(world: "World", body: bytes, spoil: dict[str, Any]) -> dict[str, str]:
    wanted = spoil.get("serial")
    known = wanted is not None and world.gate.knows(wanted)
    headers = world.gate.sign(
        body, world.clock.now(), wanted if known else None, shift_s=spoil.get("timestamp_offset_s", 0)
    )
    if wanted is not None and not known:
        headers["Wechatpay-Serial"] = wanted
    if spoil.get("signature") == "forged":
        headers["Wechatpay-Signature"] = base64.b64encode(secrets.token_bytes(256)).decode()
    elif spoil.get("signature") == "signtest":
        headers["Wechatpay-Signature"] = PROBE_PREFIX + base64.b64encode(secrets.token_bytes(256)).decode()
    elif spoil.get("signature") == "missing":
        del headers["Wechatpay-Signature"]
    return {"Content-Type": "application/json", "User-Agent": "Mozilla/4.0", **headers}


def _with_a_flipped_bit(ciphertext: str) -> str:
    sealed = bytearray(base64.b64decode(ciphertext))
    sealed[0] ^= 1
    return base64.b64encode(sealed).decode()
