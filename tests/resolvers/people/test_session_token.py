"""Access tokens against the list of RFC 8725: nothing but our own signature over our own claims is believed."""

import base64
import hmac
import json
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from resolvers.clock import SetClock
from resolvers.people.token import TokenInvalid, TokenIssuer

SECRET = "k" * 32
SUBJECT = UUID("01930000-0000-7000-8000-000000000001")
SESSION = UUID("01930000-0000-7000-8000-000000000003")
MINUTES = timedelta(minutes=30)


def members(**keys: str) -> TokenIssuer:
    return TokenIssuer(keys or {"k1": SECRET}, audience="member", ttl=MINUTES)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def claims(clock: SetClock, **changed: object) -> dict[str, Any]:
    issued_at = int(clock.now().timestamp())
    return {
        "iss": "youli",
        "aud": "member",
        "sub": str(SUBJECT),
        "sid": str(SESSION),
        "iat": issued_at,
        "exp": issued_at + 1800,
        **changed,
    }


def signed(header: object, content: object, secret: str = SECRET) -> str:
    """Signed with the right secret, whatever the header and the claims say."""
    message = f"{part(header)}.{part(content)}"
    signature = hmac.digest(secret.encode(), message.encode(), sha256)
    return f"{message}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def refused(token: str, clock: SetClock, issuer: TokenIssuer | None = None) -> bool:
    with pytest.raises(TokenInvalid):
        (issuer or members()).read(token, now=clock.now())
    return True


HEADER = {"alg": "HS256", "typ": "member+jwt", "kid": "k1"}


def test_a_token_says_who_and_which_session(clock: SetClock) -> None:
    found = members().read(members().issue(subject_id=SUBJECT, session_id=SESSION, now=clock.now()), now=clock.now())
    assert (found.subject_id, found.session_id, found.role) == (SUBJECT, SESSION, None)
    assert found.expires_at == members().expiry(clock.now()) == clock.now() + MINUTES


def test_the_hand_made_token_of_these_tests_is_believed(clock: SetClock) -> None:
    assert members().read(signed(HEADER, claims(clock)), now=clock.now()).subject_id == SUBJECT


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
def test_an_unsigned_token_is_refused(clock: SetClock, algorithm: str) -> None:
    unsigned = f"{part({**HEADER, 'alg': algorithm})}.{part(claims(clock))}."
    assert refused(unsigned, clock)
    assert refused(unsigned.rstrip("."), clock)
    assert refused(signed({**HEADER, "alg": algorithm}, claims(clock)), clock)


@pytest.mark.parametrize(
    "algorithm", ["HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256", "", None, ["HS256"]]
)
def test_the_header_does_not_choose_the_algorithm(clock: SetClock, algorithm: object) -> None:
    assert refused(signed({**HEADER, "alg": algorithm}, claims(clock)), clock)


def test_a_stronger_hash_with_the_right_secret_is_refused(clock: SetClock) -> None:
    token = jwt.encode(claims(clock), "k" * 64, algorithm="HS512", headers={"kid": "k1", "typ": "member+jwt"})
    assert refused(token, clock, members(k1="k" * 64))


def test_a_public_key_is_not_taken_for_a_secret(clock: SetClock) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    by_rsa = jwt.encode(claims(clock), private, algorithm="RS256", headers={"kid": "k1", "typ": "member+jwt"})
    assert refused(by_rsa, clock)
    assert refused(signed(HEADER, claims(clock), public), clock)


@pytest.mark.parametrize("kid", ["k2", "", None, 1, ["k1"], {"k1": 1}, "../k1", "k1\u0000"])
def test_an_unknown_key_id_is_refused(clock: SetClock, kid: object) -> None:
    assert refused(signed({**HEADER, "kid": kid}, claims(clock)), clock)


def test_a_token_without_a_key_id_is_refused(clock: SetClock) -> None:
    assert refused(signed({"alg": "HS256", "typ": "member+jwt"}, claims(clock)), clock)


def test_keys_in_the_header_are_not_believed(clock: SetClock) -> None:
    own = {"kty": "oct", "k": base64.urlsafe_b64encode(b"a" * 32).decode().rstrip("=")}
    for extra in ({"jwk": own}, {"jku": "https://evil.test/keys"}, {"x5u": "https://evil.test/cert"}):
        assert refused(signed({**HEADER, **extra}, claims(clock), "a" * 32), clock)


@pytest.mark.parametrize("typ", ["JWT", "operator+jwt", "member+JWT ", "", None, 1])
def test_a_token_of_another_type_is_refused(clock: SetClock, typ: object) -> None:
    assert refused(signed({**HEADER, "typ": typ}, claims(clock)), clock)


@pytest.mark.parametrize("audience", ["operator", "", None, ["member", "operator"], ["member"], {"member": 1}])
def test_a_token_for_another_audience_is_refused(clock: SetClock, audience: object) -> None:
    assert refused(signed(HEADER, claims(clock, aud=audience)), clock)


@pytest.mark.parametrize("issuer", ["someone", "", None, ["youli"]])
def test_a_token_of_another_issuer_is_refused(clock: SetClock, issuer: object) -> None:
    assert refused(signed(HEADER, claims(clock, iss=issuer)), clock)


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "sid", "iat", "exp"])
def test_a_token_that_lacks_a_claim_is_refused(clock: SetClock, name: str) -> None:
    content = claims(clock)
    del content[name]
    assert refused(signed(HEADER, content), clock)


@pytest.mark.parametrize(
    "changed",
    [{"sub": 1}, {"sub": "somebody"}, {"sid": None}, {"sid": 5}, {"sid": [1]}, {"exp": "soon"}, {"exp": 10**30}],
)
def test_claims_of_odd_types_are_refused_and_break_nothing(clock: SetClock, changed: dict[str, object]) -> None:
    assert refused(signed(HEADER, claims(clock, **changed)), clock)


def test_no_kind_of_token_is_taken_for_the_other_even_with_the_same_key(clock: SetClock) -> None:
    operators = TokenIssuer({"k1": SECRET}, audience="operator", ttl=MINUTES)
    ours = members().issue(subject_id=SUBJECT, session_id=SESSION, now=clock.now())
    theirs = operators.issue(subject_id=SUBJECT, session_id=SESSION, now=clock.now())
    assert refused(ours, clock, operators)
    assert refused(theirs, clock, members())


def test_a_token_ends_at_the_very_instant(clock: SetClock) -> None:
    token = members().issue(subject_id=SUBJECT, session_id=SESSION, now=clock.now())
    clock.advance(MINUTES - timedelta(microseconds=1))
    assert members().read(token, now=clock.now()).subject_id == SUBJECT
    clock.advance(timedelta(microseconds=1))
    assert refused(token, clock)


def test_a_token_that_was_cut_or_changed_anywhere_is_refused(clock: SetClock) -> None:
    token = members().issue(subject_id=SUBJECT, session_id=SESSION, now=clock.now())
    for length in range(len(token)):
        assert refused(token[:length], clock)
    for at in range(0, len(token) - 1, 7):
        # The last character of a part may carry unused bits, so a character in its middle is changed.
        other = "A" if token[at] != "A" else "B"
        assert refused(token[:at] + other + token[at + 1 :], clock)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "....",
        "é.é.é",
        "\u0000",
        "a" * 1_000_000,
        f"{part(HEADER)}.{part({'a': 'b' * 500_000})}.x",
        f"{part([1])}.{part({})}.x",
        f"{part('x')}.{part({})}.x",
        base64.urlsafe_b64encode(b"[" * 700).decode().rstrip("=") + ".e30.x",
        base64.urlsafe_b64encode(b'{"a":' * 140).decode().rstrip("=") + ".e30.x",
        base64.urlsafe_b64encode(b"\xff\xfe").decode() + ".e30.x",
    ],
)
def test_what_is_no_token_is_refused_quickly_and_breaks_nothing(clock: SetClock, token: str) -> None:
    assert refused(token, clock)


def test_an_old_key_still_verifies_and_the_new_one_signs(clock: SetClock) -> None:
    old = members(k1=SECRET).issue(subject_id=SUBJECT, session_id=SESSION, now=clock.now())
    both = members(k2="n" * 32, k1=SECRET)
    new = both.issue(subject_id=SUBJECT, session_id=SESSION, now=clock.now())
    assert jwt.get_unverified_header(new)["kid"] == "k2"
    assert both.read(old, now=clock.now()).subject_id == SUBJECT
    assert both.read(new, now=clock.now()).subject_id == SUBJECT
    only_new = members(k2="n" * 32)
    assert only_new.read(new, now=clock.now()).subject_id == SUBJECT
    assert refused(old, clock, only_new)


def test_a_secret_under_the_name_of_another_key_is_refused(clock: SetClock) -> None:
    both = members(k2="n" * 32, k1=SECRET)
    assert refused(signed({**HEADER, "kid": "k2"}, claims(clock), SECRET), clock, both)


def test_a_short_secret_signs_nothing(clock: SetClock) -> None:
    with pytest.raises(jwt.InvalidKeyError):
        members(k1="short").issue(subject_id=SUBJECT, session_id=SESSION, now=clock.now())
