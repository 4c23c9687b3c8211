"""Rows that are inserted by column are those that an object each would have made."""

from datetime import date
from typing import Any

import pytest
from tortoise.exceptions import IntegrityError, OperationalError

from models.asyncpg_backend import SqlCount, sql_count
from models.bulk import insert, inserted
from models.engine import rows
from models.ids import new_id
from models.people.member import Member
from models.people.operator import AuditRow, Operator
from models.referrals.referral import ReferralToken
from resolvers.clock import SetClock

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _member(clock: SetClock, **own: Any) -> dict[str, Any]:
    named: dict[str, Any] = {
        "openid": None,
        "nickname": "",
        "birthday": None,
        "personalised": True,
        "marketing_topics": [],
    }
    return {"id": new_id(clock.now()), "created_at": clock.now(), **named, **own}


def _columns(member: Member) -> dict[str, Any]:
    return {name: getattr(member, name) for name in Member._meta.db_fields}


async def test_what_is_inserted_by_column_is_what_the_objects_say(store: None, clock: SetClock) -> None:
    made = [
        _member(clock, nickname="茶", birthday=date(1990, 2, 28), marketing_topics=["sale", "coupon"]),
        _member(clock, openid="bulk", personalised=False),
    ]
    await insert((Member, made))
    for row in made:
        assert _columns(inserted(Member, row)) == _columns(await Member.get(id=row["id"])), "the defaults as well"


async def test_rows_that_are_the_same_but_for_the_id_are_all_there(store: None, clock: SetClock) -> None:
    made = [_member(clock, nickname="茶") for _ in range(64)]
    await insert((Member, made))
    kept = await Member.filter(id__in=[row["id"] for row in made], nickname="茶").count()
    assert kept == 64


async def test_rows_name_the_same_columns_and_those_of_the_table(store: None, clock: SetClock) -> None:
    row = _member(clock)
    with pytest.raises(AssertionError, match="different columns"):
        await insert((Member, [row, {**row, "id": new_id(clock.now()), "unionid": "u"}]))
    with pytest.raises(AssertionError, match="does not have"):
        await insert((Member, [{**row, "nick_name": "茶"}]))


async def test_an_inserted_row_can_be_saved_again(store: None, clock: SetClock) -> None:
    row = _member(clock)
    await insert((Member, [row]))
    member = inserted(Member, row)
    member.nickname = "茶"
    await member.save()
    assert (await Member.get(id=member.id)).nickname == "茶"


async def test_json_may_be_nothing_at_all(store: None, clock: SetClock) -> None:
    boss = await Operator.create(
        id=new_id(clock.now()), login="bulk", password_hash="x", role="owner", created_at=clock.now()
    )
    row = {"id": new_id(clock.now()), "operator_id": boss.id, "action": "x", "subject_kind": "x", "subject_id": "x"}
    await insert((AuditRow, [{**row, "before": None, "after": {"a": [1, None]}, "at": clock.now()}]))
    (kept,) = await rows("SELECT before, after->'a'->>0 AS first FROM audit_row WHERE id = $1", [row["id"]])
    assert kept == {"before": None, "first": "1"}


async def test_what_is_too_long_is_refused_and_not_cut_off(store: None, clock: SetClock) -> None:
    made = [_member(clock), _member(clock, nickname="x" * 65)]
    with pytest.raises(OperationalError, match="too long"):
        await insert((Member, made))
    assert not await Member.filter(id__in=[row["id"] for row in made]).exists()


async def test_a_broken_constraint_inserts_none(store: None, clock: SetClock) -> None:
    made = [_member(clock, openid="twice"), _member(clock, openid="twice")]
    with pytest.raises(IntegrityError):
        await insert((Member, made))
    assert not await Member.filter(id__in=[row["id"] for row in made]).exists()


async def test_rows_of_several_tables_that_refer_to_each_other_are_one_statement(store: None, clock: SetClock) -> None:
    made = [_member(clock) for _ in range(3)]
    tokens = [
        {"id": new_id(clock.now()), "token": str(row["id"])[-20:], "member_id": row["id"], "source": "qr"}
        | {"created_at": clock.now()}
        for row in made
    ]
    counter = SqlCount()
    sql_count.set(counter)
    await insert((ReferralToken, tokens), (AuditRow, []), (Member, made))
    assert counter.value == 1
    kept = await ReferralToken.filter(member_id__in=[row["id"] for row in made])
    assert {(token.member_id, token.token) for token in kept} == {(one["member_id"], one["token"]) for one in tokens}


async def test_no_rows_are_no_statement(store: None) -> None:
    await insert((Member, []))
