"""What the sandbox remembers: plain records, held in memory and written through to one SQLite file when it has a
folder."""

import json
import sqlite3
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar


@dataclass(slots=True, kw_only=True)
class User:
    """A WeChat user as this app sees them. Times in the records are seconds of the virtual clock."""

    kind: ClassVar[str] = "user"
    openid: str
    unionid: str | None = None
    phone: str | None = None
    session_key: str | None = None
    blocked: bool = False

    @property
    def key(self) -> str:
        return self.openid


@dataclass(slots=True, kw_only=True)
class Code:
    """A one-shot code: ``purpose`` is login or phone."""

    kind: ClassVar[str] = "code"
    code: str
    purpose: str
    openid: str
    made_s: float
    used: bool = False

    @property
    def key(self) -> str:
        return self.code


@dataclass(slots=True, kw_only=True)
class Token:
    """An access token and the time until which it works."""

    kind: ClassVar[str] = "token"
    token: str
    made_s: float
    ends_s: float

    @property
    def key(self) -> str:
        return self.token


@dataclass(slots=True, kw_only=True)
class Order:
    """An order and, once paid, its transaction. ``asked`` is the body of its first prepay, which every later one
    repeats."""

    kind: ClassVar[str] = "order"
    out_trade_no: str
    asked: dict[str, Any]
    made_s: float
    ends_s: float
    prepay_id: str
    prepay_ends_s: float
    state: str = "NOTPAY"
    transaction_id: str | None = None
    paid_s: float | None = None
    openid: str | None = None
    total_fen: int = 0
    payer_total_fen: int = 0
    coupon_fen: int = 0

    @property
    def key(self) -> str:
        return self.out_trade_no


@dataclass(slots=True, kw_only=True)
class Refund:
    """A refund; ``outcome`` is the state it will come to at ``ends_s`` when it is still PROCESSING."""

    kind: ClassVar[str] = "refund"
    out_refund_no: str
    refund_id: str
    out_trade_no: str
    transaction_id: str
    asked: dict[str, Any]
    refund_fen: int
    payer_refund_fen: int
    made_s: float
    state: str
    outcome: str
    ends_s: float
    done_s: float | None = None

    @property
    def key(self) -> str:
        return self.out_refund_no


@dataclass(slots=True, kw_only=True)
class Shipment:
    """What the merchant told of a paid order's goods; ``reshipped``: the one correction is used."""

    kind: ClassVar[str] = "shipment"
    out_trade_no: str
    logistics_type: int = 0
    delivery_mode: int = 0
    parcels: list[dict[str, Any]] = field(default_factory=list)
    told_s: float = 0.0
    finished: bool = False
    finished_count: int = 0
    reshipped: bool = False
    shipped_s: float | None = None
    received_s: float | None = None

    @property
    def key(self) -> str:
        return self.out_trade_no


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One delivery of a notice: the HTTP status it met, or why there was none."""

    at_s: float
    status: int | None
    error: str | None


@dataclass(slots=True, kw_only=True)
class Delivery:
    """A notice on its way. ``state`` is pending, delivered, exhausted or held (waiting for the next other notice)."""

    kind: ClassVar[str] = "notice"
    number: int
    id: str
    event_type: str
    out_trade_no: str
    notify_url: str
    made_s: float
    resource: dict[str, Any]
    spoil: dict[str, Any] = field(default_factory=dict)
    state: str = "pending"
    next_s: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def key(self) -> str:
        return str(self.number)


T = TypeVar("T")
Record = User | Code | Token | Order | Refund | Shipment | Delivery


class Records:
    """All records by key. A change is made on the record and then kept with `keep`."""

    def __init__(self, path: Path | None) -> None:
        self.users: dict[str, User] = {}
        self.codes: dict[str, Code] = {}
        self.tokens: dict[str, Token] = {}
        self.orders: dict[str, Order] = {}
        self.refunds: dict[str, Refund] = {}
        self.shipments: dict[str, Shipment] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.offset_s = 0.0
        # The few that still have something before them, so that a long ledger costs no time.
        self.on_their_way: dict[str, Delivery] = {}
        self.processing: dict[str, Refund] = {}
        self._file: sqlite3.Connection | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The server's thread may differ from the one that built it; only one of them ever uses the connection.
            self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=OFF")
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS record (kind TEXT, key TEXT, body TEXT, PRIMARY KEY (kind, key))"
            )
            self._load(self._file)

    def keep(self, *records: Record) -> None:
        """Remember each record as it is now."""
        for record in records:
            self._shelf(record.kind)[record.key] = record
            self._sort(record)
            self._write(record.kind, record.key, asdict(record))

    def keep_offset(self, seconds: float) -> None:
        """Remember the clock's offset."""
        self.offset_s = seconds
        self._write("clock", "offset", {"seconds": seconds})

    def clear(self) -> None:
        """Forget everything."""
        for kind in ("user", "code", "token", "order", "refund", "shipment", "notice"):
            self._shelf(kind).clear()
        self.on_their_way.clear()
        self.processing.clear()
        self.offset_s = 0.0
        if self._file is not None:
            self._file.execute("DELETE FROM record")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _sort(self, record: Record) -> None:
        if isinstance(record, Delivery):
            _put(self.on_their_way, record.key, record, record.state in ("pending", "held"))
        elif isinstance(record, Refund):
            _put(self.processing, record.key, record, record.state == "PROCESSING")

    def _shelf(self, kind: str) -> dict[str, Any]:
        shelves: dict[str, dict[str, Any]] = {
            "user": self.users,
            "code": self.codes,
            "token": self.tokens,
            "order": self.orders,
            "refund": self.refunds,
            "shipment": self.shipments,
            "notice": self.deliveries,
        }
        return shelves[kind]

    def _write(self, kind: str, key: str, body: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.execute("INSERT OR REPLACE INTO record VALUES (?, ?, ?)", (kind, key, json.dumps(body)))

    def _load(self, file: sqlite3.Connection) -> None:
        made: dict[str, Any] = {
            "user": User,
            "code": Code,
            "token": Token,
            "order": Order,
            "refund": Refund,
            "shipment": Shipment,
        }
        for kind, key, body in file.execute("SELECT kind, key, body FROM record"):
            stored = json.loads(body)
            if kind == "clock":
                self.offset_s = stored["seconds"]
            elif kind == "notice":
                stored["attempts"] = [Attempt(**each) for each in stored["attempts"]]
                self.deliveries[key] = Delivery(**stored)
                self._sort(self.deliveries[key])
            else:
                self._shelf(kind)[key] = made[kind](**stored)
                self._sort(self._shelf(kind)[key])


def _put(shelf: dict[str, T], key: str, record: T, belongs: bool) -> None:
    if belongs:
        shelf[key] = record
    else:
        shelf.pop(key, None)
