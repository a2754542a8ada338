"""People's accounts and their signed-in browsers. Functions take a session and never commit.

An account is an annotator with a password who is not disabled. A password is kept as scrypt makes it (RFC 7914), with
the cost it was made at, so that the cost can rise later; of a browser's token only the SHA-256 is kept, so that
whoever reads the record can neither sign in nor take over a session.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import re
import secrets
import unicodedata
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.orm import Session

from labeler.domain import RESERVED_NAMES, LabelerError
from labeler.record.tables import Annotator, DecisionRow, WebSession, now

ADMIN = "admin"
ANNOTATOR = "annotator"
PERSON = "person"
MIN_PASSWORD = 8
MAX_PASSWORD = 1024
_NAME = re.compile(r"[^\W_][\w .\-]{0,63}")
_TOKEN_BYTES = 32


class AccountError(LabelerError):
    """An account cannot be made, changed or removed as asked."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What scrypt is to spend: 128 * n * r bytes of memory and n * r * p of work."""

    n: int
    r: int
    p: int


#: 32 MiB; one of the settings of equal strength in OWASP's Password Storage Cheat Sheet.
COST = Cost(n=2**15, r=8, p=3)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a password is held against."""

    annotator_id: int
    name: str
    role: str
    password_hash: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whose session a token belongs to, and until when."""

    name: str
    role: str
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account as the shell lists it; ``sessions`` counts browsers signed in now."""

    name: str
    role: str
    created_at: dt.datetime
    sessions: int
    decisions: int


# ---------------------------------------------------------------------------------------------------- passwords


def hash_password(password: str) -> str:
    """The text to store: ``scrypt$n$r$p$salt$key``, salt (16 bytes) and key (32 bytes) in Base64.

    Takes about a third of a second and 32 MiB: not for a transaction, nor for an event loop.

    Raises:
        AccountError: fewer than 8 characters, or more than 1024.
    """
    if len(_canonical(password)) < MIN_PASSWORD:
        raise AccountError(f"a password needs at least {MIN_PASSWORD} characters", "choose a longer one")
    if len(password) > MAX_PASSWORD:
        raise AccountError(f"a password may have at most {MAX_PASSWORD} characters", "choose a shorter one")
    salt = secrets.token_bytes(16)
    cost = (COST.n, COST.r, COST.p)
    return "$".join(["scrypt", *map(str, cost), _base64(salt), _base64(_derive(password, salt, COST))])


def matches(password: str, password_hash: str | None) -> bool:
    """Whether this is the password of that hash, compared in constant time.

    Without a hash (nobody of that name) the answer is False after the same work, so that the time it took does not
    tell which names exist.
    """
    if len(password) > MAX_PASSWORD:
        return False
    if password_hash is None:
        _derive(password, b"\0" * 16, COST)
        return False
    _, n, r, p, salt, key = password_hash.split("$")
    derived = _derive(password, base64.b64decode(salt), Cost(int(n), int(r), int(p)))
    return hmac.compare_digest(derived, base64.b64decode(key))


def _derive(password: str, salt: bytes, cost: Cost) -> bytes:
    # OpenSSL counts a little more than the 128 * n * r of the paper, hence the room.
    maxmem = 128 * cost.r * (cost.n + cost.p) + 2**20
    text = _canonical(password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=maxmem, dklen=32)


def _canonical(text: str) -> str:
    """The same letters typed on another keyboard may come as other code points (NIST SP 800-63B asks for this)."""
    return unicodedata.normalize("NFKC", text)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# ----------------------------------------------------------------------------------------------------- accounts


def check_name(name: str) -> str:
    """The name in its one canonical form.

    Raises:
        AccountError: it is no name for a person.
    """
    canonical = unicodedata.normalize("NFC", name)
    if not _NAME.fullmatch(canonical) or canonical != canonical.strip():
        remedy = "up to 64 letters, digits, spaces and . _ -, a letter or digit first"
        raise AccountError(f"{name!r} cannot be the name of an account", remedy)
    if canonical.casefold() in RESERVED_NAMES:
        raise AccountError(f"the name {name!r} is the program's own", "choose another")
    return canonical


def any_account(session: Session) -> bool:
    """Whether people sign in here."""
    return session.scalar(select(Annotator.id).where(_is_account()).limit(1)) is not None


def count(session: Session) -> int:
    """How many people can sign in here."""
    return session.scalar(select(func.count()).select_from(Annotator).where(_is_account())) or 0


def add(session: Session, name: str, password_hash: str, *, admin: bool) -> str:
    """Make an account and return its role; the first one is an administrator's in any case.

    A name that labelled before it had a password, or whose account was removed, keeps its decisions.

    Raises:
        AccountError: the name is taken, no name for a person, or differs from a taken one in capitals only.
    """
    name = check_name(name)
    alike = [row for row in session.scalars(select(Annotator)) if row.name.casefold() == name.casefold()]
    for row in alike:
        if row.name != name or row.kind != PERSON:
            raise AccountError(f"{row.name!r} is on record already", "choose another name")
        if row.password_hash is not None and not row.disabled:
            remedy = f"`labeler users passwd {name}` changes its password"
            raise AccountError(f"{name!r} has an account already", remedy)
    role = ADMIN if admin or not any_account(session) else ANNOTATOR
    person = alike[0] if alike else Annotator(name=name, kind=PERSON)
    person.role, person.password_hash, person.disabled = role, password_hash, False
    session.add(person)
    session.flush()
    return role


def listed(session: Session) -> list[AccountView]:
    """Every account by name."""
    signed_in = select(func.count()).where(WebSession.annotator_id == Annotator.id, WebSession.expires_at > now())
    decided = select(func.count()).where(DecisionRow.annotator_id == Annotator.id)
    columns = select(
        Annotator.name, Annotator.role, Annotator.created_at, signed_in.scalar_subquery(), decided.scalar_subquery()
    )
    return [AccountView(*row) for row in session.execute(columns.where(_is_account()).order_by(Annotator.name))]


def remove(session: Session, name: str) -> None:
    """Disable an account and end its sessions; what the person decided stays.

    Raises:
        AccountError: there is none, or the others would be left without an administrator.
    """
    person = require(session, name)
    others = select(Annotator.role).where(_is_account(), Annotator.id != person.id)
    roles = set(session.scalars(others))
    if roles and ADMIN not in roles:
        raise AccountError(f"{name!r} is the last administrator", "make another one first, with `labeler users add`")
    person.disabled, person.password_hash = True, None
    end_all(session, person.name)


def set_password(session: Session, name: str, password_hash: str) -> None:
    """Change a password and end the person's sessions: whoever knew the old one is out.

    Raises:
        AccountError: there is no such account.
    """
    person = require(session, name)
    person.password_hash = password_hash
    end_all(session, person.name)


def credentials(session: Session, name: str) -> Credentials | None:
    """What to hold a password against; None when nobody of that name can sign in."""
    row = _account(session, name)
    return Credentials(row.id, row.name, row.role, row.password_hash or "") if row is not None else None


def require(session: Session, name: str) -> Annotator:
    """The row of an account.

    Raises:
        AccountError: there is none of that name.
    """
    person = _account(session, name)
    if person is None:
        raise AccountError(f"there is no account {name!r}", "see `labeler users list`")
    return person


def _account(session: Session, name: str) -> Annotator | None:
    canonical = unicodedata.normalize("NFC", name)
    return session.scalar(select(Annotator).where(_is_account(), Annotator.name == canonical))


def _is_account() -> ColumnElement[bool]:
    return and_(Annotator.password_hash.is_not(None), ~Annotator.disabled)


# ----------------------------------------------------------------------------------------------------- sessions


def begin(session: Session, checked: Credentials, hours: int) -> str | None:
    """Open a session and return its token, which is kept nowhere else; sessions that ran out are cleared away.

    Args:
        session: of a write transaction.
        checked: what the password was held against.
        hours: for which it lasts.

    Returns:
        43 letters, digits, ``-`` and ``_``; None when the account was removed or changed its password meanwhile.
    """
    session.execute(delete(WebSession).where(WebSession.expires_at <= now()))
    person = session.scalar(select(Annotator).where(_is_account(), Annotator.id == checked.annotator_id))
    if person is None or person.password_hash != checked.password_hash:
        return None
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    ends = now() + dt.timedelta(hours=hours)
    session.add(WebSession(token_hash=token_hash(token), annotator_id=person.id, expires_at=ends))
    return token


def token_hash(token: str) -> str:
    """What the record keeps of a token. A plain hash does: there is nothing to guess in 32 random bytes."""
    return hashlib.sha256(token.encode("ascii", "replace")).hexdigest()


def signed_in(session: Session, hashed: str) -> SignedIn | None:
    """Whose session it is; None when it is nobody's, ran out, or the account was removed."""
    query = select(Annotator.name, Annotator.role, WebSession.expires_at)
    query = query.join(WebSession, WebSession.annotator_id == Annotator.id)
    query = query.where(WebSession.token_hash == hashed, WebSession.expires_at > now(), _is_account())
    row = session.execute(query).first()
    return SignedIn(row.name, row.role, row.expires_at) if row is not None else None


def end(session: Session, hashed: str) -> None:
    """End one session; one that is not there is ended already."""
    session.execute(delete(WebSession).where(WebSession.token_hash == hashed))


def end_all(session: Session, name: str) -> None:
    """End every session of a person."""
    person = select(Annotator.id).where(Annotator.name == name).scalar_subquery()
    session.execute(delete(WebSession).where(WebSession.annotator_id == person))
