"""Operator accounts: what a login looks like, and that the store never loses its last owner.

Source: docs/rules/operator.md
"""

import re

from loyalty.people.rights import Role
from loyalty.refusal import Refusal

MIN_LOGIN_LENGTH = 3
MAX_LOGIN_LENGTH = 64
MAX_NAME_LENGTH = 64

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._@+-]*")


class LoginUnfit(Refusal):
    """A login is ``least`` to ``most`` letters, digits and ``. _ - @ +``, and begins with a letter or digit."""

    code = "LOGIN_UNFIT"
    zh = "登录名须为 {least} 至 {most} 个字母、数字或 . _ - @ +，并以字母或数字开头"
    en = "A login is {least} to {most} letters, digits or . _ - @ +, and begins with a letter or digit."


class LoginTaken(Refusal):
    """Another operator has this login, disabled or not."""

    code = "LOGIN_TAKEN"
    zh = "登录名已被使用"
    en = "This login is taken."


class OperatorNameUnfit(Refusal):
    """A display name is at most ``most`` characters."""

    code = "OPERATOR_NAME_UNFIT"
    zh = "显示名称最多 {most} 个字符"
    en = "A display name has at most {most} characters."


class OperatorNotFound(Refusal):
    """There is no such operator."""

    code = "OPERATOR_NOT_FOUND"
    zh = "没有这个运营账号"
    en = "There is no such operator."


class LastOwner(Refusal):
    """The store would have no owner left who can sign in."""

    code = "LAST_OWNER"
    zh = "至少要保留一个可用的店主账号"
    en = "The last owner who can sign in stays owner."


def fit_login(login: str) -> str:
    """The login as it is stored: without outer spaces, lower case. Raises: LoginUnfit."""
    fit = login.strip().lower()
    if not MIN_LOGIN_LENGTH <= len(fit) <= MAX_LOGIN_LENGTH or not _LOGIN.fullmatch(fit):
        raise LoginUnfit(least=MIN_LOGIN_LENGTH, most=MAX_LOGIN_LENGTH)
    return fit


def fit_name(name: str) -> str:
    """The display name as it is stored: without outer spaces. Raises: OperatorNameUnfit."""
    fit = name.strip()
    if len(fit) > MAX_NAME_LENGTH:
        raise OperatorNameUnfit(most=MAX_NAME_LENGTH)
    return fit


def admit_loss(*, role: str, disabled: bool, owners: int) -> None:
    """Whether an account may lose its role or be disabled. ``owners`` counts the owners who can sign in, with it.

    Raises: LastOwner.
    """
    if role == Role.OWNER and not disabled and owners <= 1:
        raise LastOwner
