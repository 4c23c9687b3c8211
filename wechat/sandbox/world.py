"""Everything one sandbox is: its credentials, its clock, what it remembers and what it was told to do wrong."""

from datetime import timedelta
from pathlib import Path

from wechat.sandbox.clock import VirtualClock
from wechat.sandbox.courier import Courier
from wechat.sandbox.credentials import Credentials, SigningKey
from wechat.sandbox.faults import Faults
from wechat.sandbox.gate import PayGate
from wechat.sandbox.records import Records
from wechat.sandbox.scripts import Scripts


class World:
    """One sandbox. With a folder it is the same sandbox again after a restart; without one it lives in memory."""

    def __init__(self, state_dir: Path | None, credentials: Credentials | None) -> None:
        self._state_dir = state_dir
        if credentials is None:
            credentials = Credentials.generate() if state_dir is None else Credentials.kept_in(state_dir)
        self.records = Records(None if state_dir is None else state_dir / "sandbox.sqlite3")
        self.clock = VirtualClock(timedelta(seconds=self.records.offset_s))
        self.gate = PayGate(credentials)
        self.faults = Faults()
        self.scripts = Scripts()
        self.bills: dict[str, tuple[float, bytes]] = {}
        self.logins: dict[str, list[float]] = {}
        self.forced_refreshes: list[float] = []
        self.any_code_openid: str | None = None
        self.trade_managed = True
        self.unshippable: set[str] = set()
        self.courier = Courier(self)

    @property
    def credentials(self) -> Credentials:
        """The developer's settings and the keys of both sides."""
        return self.gate.credentials

    def now_s(self) -> float:
        """Seconds of the virtual clock."""
        return self.clock.now().timestamp()

    def move_clock(self) -> None:
        """The clock was moved: keep its offset and look at once for what is due."""
        self.records.keep_offset(self.clock.offset.total_seconds())
        self.courier.wake()

    def add_key(self, key: SigningKey) -> None:
        """One more platform key, kept with the others."""
        self.gate.add_key(key)
        if self._state_dir is not None:
            self.credentials.keep_in(self._state_dir)

    def reset(self) -> None:
        """Forget everything but the credentials."""
        self.records.clear()
        self.clock.reset()
        self.faults.clear()
        self.scripts.clear()
        self.bills.clear()
        self.logins.clear()
        self.forced_refreshes.clear()
        self.any_code_openid = None
        self.trade_managed = True
        self.unshippable.clear()
        self.gate.notice_serial = self.credentials.platform_keys[0].serial
        self.courier.on_call = False
        self.courier.forget()
