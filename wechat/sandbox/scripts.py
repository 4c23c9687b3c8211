"""What the operator told the sandbox about notices and refunds to come."""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from wechat.sandbox.answers import OperatorRefusal

FORGEABLE: Final = (
    "total_fen",
    "payer_total_fen",
    "refund_fen",
    "mchid",
    "appid",
    "openid",
    "transaction_id",
    "out_trade_no",
    "trade_state",
    "refund_status",
)


@dataclass(slots=True, kw_only=True)
class NoticeScript:
    """How the next `times` notices (None: all) that match are sent. An empty field leaves that property alone.

    ``out_trade_no`` and ``event_type`` (a prefix such as REFUND) select. ``first_attempts`` limits the spoiling to the
    first so many deliveries, so that a later retry arrives as it should.
    """

    out_trade_no: str | None = None
    event_type: str | None = None
    times: int | None = 1
    drop: bool = False
    duplicate: int = 0
    fresh_ids: bool = False
    delay_s: float = 0.0
    hold: bool = False
    first_attempts: int | None = None
    tamper: str | None = None
    serial: str | None = None
    signature: str | None = None
    timestamp_offset_s: int = 0
    forge: dict[str, Any] = field(default_factory=dict)

    def spoil(self) -> dict[str, Any]:
        """What a delivery has to remember of it."""
        return {
            name: value
            for name, value in asdict(self).items()
            if value
            and name in ("drop", "first_attempts", "tamper", "serial", "signature", "timestamp_offset_s", "forge")
        }


@dataclass(slots=True, kw_only=True)
class RefundScript:
    """What becomes of the next `times` refunds that match: the state ``status`` after ``after_s`` seconds.

    ``at_once`` answers the request itself with that state, where otherwise it is PROCESSING first.
    """

    out_trade_no: str | None = None
    out_refund_no: str | None = None
    times: int | None = 1
    status: str = "SUCCESS"
    after_s: float = 0.0
    at_once: bool = False


class Scripts:
    """The scripts in force, oldest first."""

    def __init__(self) -> None:
        self.notices: list[NoticeScript] = []
        self.refunds: list[RefundScript] = []

    def add_notice(self, **wanted: Any) -> NoticeScript:
        """Raises `OperatorRefusal` for an unknown field or value."""
        script = made_notice_script(**wanted)
        self.notices.append(script)
        return script

    def add_refund(self, **wanted: Any) -> RefundScript:
        """Raises `OperatorRefusal` for an unknown field or value."""
        try:
            script = RefundScript(**wanted)
        except TypeError as error:
            raise OperatorRefusal(str(error)) from None
        if script.status not in ("SUCCESS", "ABNORMAL", "CLOSED", "PROCESSING"):
            raise OperatorRefusal("status is SUCCESS, ABNORMAL, CLOSED or PROCESSING (for ever)")
        self.refunds.append(script)
        return script

    def for_notice(self, out_trade_no: str, event_type: str) -> NoticeScript | None:
        """The script that applies to a new notice, counted as used."""
        for script in self.notices:
            if script.out_trade_no in (None, out_trade_no) and event_type.startswith(script.event_type or ""):
                _used(script, self.notices)
                return script
        return None

    def for_refund(self, out_trade_no: str, out_refund_no: str) -> RefundScript | None:
        """The script that applies to a new refund, counted as used."""
        for script in self.refunds:
            if script.out_trade_no in (None, out_trade_no) and script.out_refund_no in (None, out_refund_no):
                _used(script, self.refunds)
                return script
        return None

    def clear(self) -> None:
        """Forget all scripts."""
        self.notices.clear()
        self.refunds.clear()


def made_notice_script(**wanted: Any) -> NoticeScript:
    """A checked script. Raises `OperatorRefusal`."""
    try:
        script = NoticeScript(**wanted)
    except TypeError as error:
        raise OperatorRefusal(str(error)) from None
    if script.tamper not in (None, "ciphertext", "body", "key"):
        raise OperatorRefusal("tamper is ciphertext, body or key")
    if script.signature not in (None, "forged", "signtest", "missing"):
        raise OperatorRefusal("signature is forged, signtest or missing")
    unknown = [name for name in script.forge if name not in FORGEABLE]
    if unknown:
        raise OperatorRefusal(f"forge knows {', '.join(FORGEABLE)}")
    return script


def _used(script: Any, among: list[Any]) -> None:
    if script.times is not None:
        script.times -= 1
        if script.times <= 0:
            among.remove(script)
