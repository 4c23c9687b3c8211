import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty import idempotency
from tests.loyalty.worked_examples import worked

contents = st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=5))


def test_contents_are_the_same_as_the_page_says() -> None:
    for row in worked("idempotency.md", "Example: same or not"):
        stored, sent = (idempotency.fingerprint(json.loads(row[column].strip("`"))) for column in ("stored", "sent"))
        assert (stored == sent) is (row["same"] == "yes"), row


@given(contents)
def test_the_order_of_fields_does_not_matter(content: dict[str, object]) -> None:
    turned = dict(reversed(content.items()))
    assert idempotency.fingerprint(content) == idempotency.fingerprint(turned)
    idempotency.admit_replay(stored=idempotency.fingerprint(content), sent=idempotency.fingerprint(turned))


@given(contents, contents)
def test_different_contents_have_different_fingerprints(one: dict[str, object], other: dict[str, object]) -> None:
    same_json = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (idempotency.fingerprint(one) == idempotency.fingerprint(other)) is same_json


def test_a_key_with_other_content_is_refused() -> None:
    with pytest.raises(idempotency.KeyReused):
        idempotency.admit_replay(stored=idempotency.fingerprint({"a": 1}), sent=idempotency.fingerprint({"a": 2}))


@pytest.mark.parametrize(
    ("key", "fine"),
    [
        ("a" * 8, True),
        ("a" * 64, True),
        ("!~-_.:/=", True),
        ("a" * 7, False),
        ("a" * 65, False),
        ("", False),
        ("has a blank", False),
        ("tab\tinside", False),
        ("会员会员会员会员", False),
        ("nul\x00inside", False),
    ],
)
def test_a_key_is_visible_ascii_of_bounded_length(key: str, fine: bool) -> None:
    if fine:
        idempotency.admit_key(key)
    else:
        with pytest.raises(idempotency.KeyInvalid):
            idempotency.admit_key(key)
