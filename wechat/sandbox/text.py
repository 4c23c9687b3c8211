"""How WeChat Pay writes times and numbers."""

import secrets
from datetime import UTC, datetime

from wechat.bill import CHINA_STANDARD_TIME


def china_time(seconds: float) -> str:
    """RFC 3339 with the offset of China, to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).astimezone(CHINA_STANDARD_TIME).isoformat()


def digits(count: int) -> str:
    """`count` random decimal digits."""
    return "".join(secrets.choice("0123456789") for _ in range(count))
