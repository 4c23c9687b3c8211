"""A strict stand-in for Tencent's servers: login, access token and WeChat Pay, for development and tests.

It verifies what the real gateway verifies and refuses what it would refuse. See the sandbox guide in the documentation.
"""

from wechat.sandbox.app import create_app
from wechat.sandbox.credentials import Credentials

__all__ = ["Credentials", "create_app"]
