"""Redis in its three forms, each started from the one program that runs the store: for tests that must hold on all.

A form can be told to ``fail_over``: the server that has a key is killed without warning and its replica takes over (a
single server has none: it comes back empty). The order to take over is given here and not left to the servers' own
timers, which on a busy machine would also fire when nothing is wrong.
"""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

import processes
from cache.address import Form
from cache.engine import find_program
from tests.patience import PATIENCE_S
from tests.ports import free_port

SLOTS = 16384
SERVICE = "shop"
REPLICA_WITHIN_MS = 60_000


class RedisForm:
    """A running Redis. ``url`` is what ``REDIS_URL`` would say."""

    def __init__(self, form: Form, url: str, folder: Path) -> None:
        self.form = form
        self.url = url
        self._folder = folder
        self._servers: dict[int, processes.Running] = {}
        self._ports: list[int] = []
        self._buses: list[int] = []
        self._sentinels: list[int] = []
        self._pair = (0, 0)
        self._falls_behind = False

    @property
    def has_replica(self) -> bool:
        """Whether somebody takes the place of a server that dies."""
        return self.form is not Form.STANDALONE

    def hang(self, key: str, for_s: float) -> None:
        """The server that has the key stands still for a while."""
        pid = self._servers[self._serving(key)].pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(for_s)
        os.kill(pid, signal.SIGCONT)

    def hang_up(self, key: str) -> None:
        """The server that has the key does what it is told, and its replies are lost: it breaks connections off."""
        with _connected(self._serving(key)) as server:
            server.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _serving(self, key: str) -> int:
        return self._ports[0] if self.form is Form.STANDALONE else self._who_has(key)[0]

    def falls_behind(self, key: str) -> None:
        """From now until the next failover, the replica of the server that has the key hears nothing."""
        _comes(lambda: all(self._who_has(key)))
        with _connected(self._who_has(key)[0]) as at_primary:
            assert at_primary.wait(1, REPLICA_WITHIN_MS) >= 1, "the replica has everything until now"
            at_primary.execute_command("ACL", "SETUSER", "default", "-psync", "-sync")
            at_primary.execute_command("CLIENT", "KILL", "TYPE", "replica")
        self._falls_behind = True

    def fail_over(self, key: str = "any") -> None:
        """Kill the server that has the key once its replica has all of it, and return when another one serves.

        A replica that ``falls_behind`` takes over as it is.
        """
        if self.form is Form.STANDALONE:
            (port,) = self._ports
            self._kill(port)
            self._start(port)
            return
        # A replica that is just joining is named by nobody yet: one waits until each server has its replica.
        _comes(lambda: all(self._who_has(key)))
        primary, replica = self._who_has(key)
        if not self._falls_behind:
            with _connected(primary) as at_primary:
                assert at_primary.wait(1, REPLICA_WITHIN_MS) >= 1, "the replica has everything"
        self._falls_behind = False
        self._kill(primary)
        if self.form is Form.CLUSTER:
            with _connected(replica) as at_replica:
                at_replica.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
            _comes(lambda: self._who_has(key)[0] == replica)
            self._start(primary)
            _comes(lambda: self._who_has(key) == (replica, primary) and _is_replica(primary))
            return
        with _connected(self._sentinels[0]) as sentinel:
            _comes(lambda: _succeeds(sentinel, "SENTINEL", "FAILOVER", SERVICE))
        _comes(lambda: all(self._master(port) == replica for port in self._sentinels))
        self._start(primary, "--replicaof", f"127.0.0.1 {replica}")
        _comes(lambda: _is_replica(primary))
        self._pair = replica, primary
        _comes(lambda: self._sentinels_know_the_replica())

    def _kill(self, port: int) -> None:
        server = self._servers.pop(port)
        assert server.process is not None
        server.process.kill()
        server.stop()

    def _who_has(self, key: str) -> tuple[int, int]:
        """The ports of the primary that has a key and of its replica, 0 for one that there is not."""
        if self.form is Form.SENTINEL:
            return self._pair
        slot = key_slot(key.encode())
        for port in self._servers:
            with _connected(port) as node:
                try:
                    for first, last, *nodes in node.execute_command("CLUSTER", "SLOTS"):
                        if first <= slot <= last:
                            others = {other for other in self._ports if other != nodes[0][1]}
                            replica = [one[1] for one in nodes[1:] if one[1] in others]
                            return nodes[0][1], replica[0] if replica else 0
                except RedisError:
                    continue
        return 0, 0

    def _start(self, port: int, *options: str) -> None:
        home = self._folder / str(port)
        home.mkdir(exist_ok=True)
        executable, _ = find_program()
        program = processes.Program(
            name=f"redis on {port}",
            argv=[
                str(executable), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home), "--save", "",
                "--appendonly", "no", "--repl-diskless-sync-delay", "0", *self._form_options(port), *options,
            ],
            log=home / "log",
            cwd=home,
        )  # fmt: skip
        self._run(port, program)

    def _run(self, port: int, program: processes.Program) -> None:
        # Guarded by its own shell, because a test may call from a thread that ends before the server may.
        self._servers[port] = processes.start(
            program, program.log.parent / "pid.json", {"port": port}, _answers, guarded=True
        )

    def _form_options(self, port: int) -> list[str]:
        if self.form is not Form.CLUSTER:
            return []
        bus = self._buses[self._ports.index(port)]
        return ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "60000"]

    def _master(self, sentinel_port: int) -> int:
        with _connected(sentinel_port) as sentinel:
            return int(sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def _sentinels_know_the_replica(self) -> bool:
        for port in self._sentinels:
            with _connected(port) as sentinel:
                known = [_as_pairs(one) for one in sentinel.execute_command("SENTINEL", "REPLICAS", SERVICE)]
            if not any(one["port"] == str(self._pair[1]) and one["master-link-status"] == "ok" for one in known):
                return False
        return True

    def _open_standalone(self) -> None:
        self._start(self._ports[0])

    def _open_sentinel(self) -> None:
        primary, replica, *sentinels = self._ports
        self._pair = primary, replica
        self._sentinels = sentinels
        self._start(primary)
        self._start(replica, "--replicaof", f"127.0.0.1 {primary}")
        _comes(lambda: _is_replica(replica))
        executable, _ = find_program()
        for port in sentinels:
            home = self._folder / str(port)
            home.mkdir()
            configuration = home / "sentinel.conf"
            configuration.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {home}\nsentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} 60000\nsentinel failover-timeout {SERVICE} 60000\n"
            )
            program = processes.Program(
                name=f"sentinel on {port}", argv=[str(executable), str(configuration), "--sentinel"],
                log=home / "log", cwd=home,
            )  # fmt: skip
            self._run(port, program)
        _comes(self._sentinels_know_the_replica)

    def _open_cluster(self) -> None:
        primaries, replicas = self._ports[:3], self._ports[3:]
        for port in self._ports:
            self._start(port)
        for place, port in enumerate(primaries):
            with _connected(port) as node:
                first, last = SLOTS * place // 3, SLOTS * (place + 1) // 3 - 1
                node.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
                node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        with _connected(primaries[0]) as node:
            for port, bus in zip(self._ports[1:], self._buses[1:], strict=True):
                node.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
        for port in self._ports:
            with _connected(port) as node:
                _comes(lambda node=node: b"cluster_known_nodes:6" in _info(node))
        for port, primary in zip(replicas, primaries, strict=True):
            with _connected(port) as node, _connected(primary) as of:
                own_id = of.execute_command("CLUSTER", "MYID")
                _comes(lambda node=node, own_id=own_id: _succeeds(node, "CLUSTER", "REPLICATE", own_id))
        for port in replicas:
            _comes(lambda port=port: _is_replica(port))
        for port in self._ports:
            with _connected(port) as node:
                _comes(lambda node=node: b"cluster_state:ok" in _info(node))

    def _open(self, buses: list[int], ports: list[int]) -> None:
        self._ports, self._buses = ports, buses
        {
            Form.STANDALONE: self._open_standalone,
            Form.SENTINEL: self._open_sentinel,
            Form.CLUSTER: self._open_cluster,
        }[self.form]()

    def _close(self) -> None:
        for server in self._servers.values():
            server.stop()


@contextmanager
def started(form: Form) -> Iterator[RedisForm]:
    """Redis in this form: one server; a primary, its replica and three sentinels; or three shards of two."""
    count = {Form.STANDALONE: 1, Form.SENTINEL: 5, Form.CLUSTER: 6}[form]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="youli-redis-")))
        ports = [free_port() for _ in range(count * 2)]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports[:count])
        sentinels = ",".join(f"127.0.0.1:{port}" for port in ports[2:count])
        url = {
            Form.STANDALONE: f"redis://{hosts}/0",
            Form.SENTINEL: f"redis+sentinel://{sentinels}/{SERVICE}",
            Form.CLUSTER: f"redis+cluster://{hosts}",
        }[form]
        running = RedisForm(form, url, folder)
        stack.callback(running._close)
        running._open(ports[count:], ports[:count])
        yield running


def _connected(port: int) -> Any:
    return Redis(port=port, socket_timeout=PATIENCE_S, protocol=2)


def _answers(address: dict[str, Any]) -> bool:
    try:
        with _connected(address["port"]) as server:
            return bool(server.ping())
    except (RedisError, OSError):
        return False


def _comes(condition: Any) -> None:
    assert processes._comes(condition, within_s=PATIENCE_S), "redis did not get there in time"


def _succeeds(server: Any, *command: Any) -> bool:
    try:
        server.execute_command(*command)
    except RedisError:
        return False
    return True


def _is_replica(port: int) -> bool:
    try:
        with _connected(port) as server:
            about = server.info("replication")
    except RedisError:
        return False
    return bool(about["role"] == "slave" and about["master_link_status"] == "up")


def _info(node: Any) -> bytes:
    found = node.execute_command("CLUSTER", "INFO", NEVER_DECODE=True)
    return found if isinstance(found, bytes) else "".join(f"{name}:{value}\n" for name, value in found.items()).encode()


def _as_pairs(entry: Any) -> dict[str, str]:
    if isinstance(entry, dict):
        return {str(name): str(value) for name, value in entry.items()}
    texts = [one.decode() if isinstance(one, bytes) else str(one) for one in entry]
    return dict(zip(texts[::2], texts[1::2], strict=True))
