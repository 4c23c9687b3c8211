"""Where Redis is: one server, a Sentinel trio that knows which server it is, or a cluster. ``REDIS_URL`` says which.

    redis://user:password@host:6379/0            one server; rediss:// with TLS
    unix:///path/to/socket?db=0                  one server on this machine
    redis+sentinel://host:26379,host:26379/shop  the server that Sentinel calls ``shop``; ``/shop/2`` for database 2
    redis+cluster://host:6379,host:6379          a cluster, found through any of these nodes

User and password are those of the servers. Sentinels that want their own are told them in the query:
``?sentinel_username=…&sentinel_password=…``. ``rediss+sentinel://`` and ``rediss+cluster://`` speak TLS with everyone,
and ``?ssl_ca_certs=/path`` names the authority that signed their certificates.
"""

from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qsl, unquote, urlsplit

SENTINEL_PORT = 26379
CLUSTER_PORT = 6379
HOSTS = 32
OPTIONS = frozenset({"ssl_ca_certs"})
SENTINEL_OPTIONS = OPTIONS | {"sentinel_username", "sentinel_password"}
EXPECTED = (
    "write redis://, rediss:// (TLS), unix:///path/to/socket, redis+sentinel://host:26379,host:26379/service "
    "or redis+cluster://host:6379,host:6379"
)


class Form(Enum):
    """In which of its forms Redis runs."""

    STANDALONE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A ``REDIS_URL``, read. ``hosts`` are the sentinels or some of the cluster's nodes, empty for one server."""

    form: Form
    tls: bool
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: dict[str, str] = field(default_factory=dict, repr=False)


def parse(url: str) -> Address:
    """The address a ``REDIS_URL`` means.

    Raises:
        ValueError: it means none; the text says why and quotes nothing of it.
    """
    scheme, _, rest = url.partition(":")
    scheme, rest = scheme.lower(), rest.removeprefix("//")
    if scheme in {"redis", "rediss", "unix"}:
        if "," in rest.partition("/")[0].rpartition("@")[2]:
            raise ValueError("several hosts are a Sentinel or a cluster: redis+sentinel:// or redis+cluster://")
        return Address(form=Form.STANDALONE, tls=scheme == "rediss")
    kinds = {"sentinel": Form.SENTINEL, "cluster": Form.CLUSTER}
    tls, plus, kind = scheme.partition("+")
    if not plus or tls not in {"redis", "rediss"} or kind not in kinds:
        raise ValueError(EXPECTED)
    form = kinds[kind]
    parts = urlsplit(f"//{rest}")
    credentials, _, listed = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    service, database = _path(form, parts.path)
    return Address(
        form=form,
        tls=tls == "rediss",
        hosts=_hosts(listed, SENTINEL_PORT if form is Form.SENTINEL else CLUSTER_PORT),
        service=service,
        database=database,
        username=unquote(username) or None,
        password=unquote(password) or None,
        options=_options(parts.query, SENTINEL_OPTIONS if form is Form.SENTINEL else OPTIONS),
    )


def _hosts(listed: str, default_port: int) -> tuple[tuple[str, int], ...]:
    hosts: list[tuple[str, int]] = []
    for part in listed.split(","):
        one = urlsplit(f"//{part.strip()}")
        try:
            port = one.port or default_port
        except ValueError:
            raise ValueError("a port is a number up to 65535") from None
        if not one.hostname:
            raise ValueError("name every host: host:port,host:port")
        hosts.append((one.hostname, port))
    if len(hosts) > HOSTS:
        raise ValueError(f"at most {HOSTS} hosts; the others are found through them")
    return tuple(hosts)


def _path(form: Form, path: str) -> tuple[str, int]:
    names = [unquote(name) for name in path.strip("/").split("/") if name]
    if form is Form.CLUSTER:
        if names not in ([], ["0"]):
            raise ValueError("a cluster has no numbered databases")
        return "", 0
    if not 1 <= len(names) <= 2 or not all(name.isdecimal() for name in names[1:]):
        raise ValueError("name the service that Sentinel watches: redis+sentinel://host:26379,host:26379/service")
    return names[0], int(names[1]) if len(names) == 2 else 0


def _options(query: str, known: frozenset[str]) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if options.keys() - known:
        raise ValueError(f"of the query only {', '.join(sorted(known))} is understood")
    return options
