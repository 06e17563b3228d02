"""Accounts, sessions, tokens, proposals and the limits on guessing, on a real ledger."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.access import Access, tokens
from ledger.access import attempts as limits
from ledger.access import proposals as waiting
from ledger.access import secrets as keys
from ledger.access.passwords import COST, Passwords
from ledger.errors import (
    Conflict,
    InvalidInput,
    NotAllowed,
    ProposalGone,
    TooManyAttempts,
    UnknownRevision,
)
from tests.e2e.harness import Kel, rows
from tests.sim.places import ask

CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
RIGHT = "correct horse"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


class Counted(Passwords):
    """Counts how often a password is looked at."""

    def __init__(self) -> None:
        super().__init__(CHEAP)
        self.looked = 0

    def match(self, stored: str | None, password: str) -> bool:
        self.looked += 1
        return super().match(stored, password)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passwords() -> Counted:
    return Counted()


@pytest.fixture
def access(ledger: Path, clean: None, clock: Clock, passwords: Counted):
    with Ledger.open(ledger) as opened:
        found = Access(opened.journal, passwords=passwords, clock=clock)
        found.accounts.add("ada", "editor", RIGHT, author="root")
        yield found


@contextmanager
def again(clock: Clock, ledger: Path) -> Iterator[Access]:
    """The same after a restart."""
    with Ledger.open(ledger) as opened:
        yield Access(opened.journal, passwords=Passwords(CHEAP), clock=clock)


# --- accounts -----------------------------------------------------------------------------------


@pytest.mark.promise("P23")
def test_an_account_has_a_role_and_a_password_that_the_history_never_holds(access, ledger):
    assert access.sign_in("ada", RIGHT, address="::1") == "editor"
    assert [(found.name, found.role) for found in access.accounts.all()] == [("ada", "editor")]
    with pytest.raises(Conflict, match="already"):
        access.accounts.add("ada", "admin", RIGHT, author="root")
    lines = rows(ledger)
    hashes = [line for line in lines if "$argon2id$" in line]
    assert len(hashes) == 1
    assert hashes[0].startswith(('INSERT INTO "credential"', "credential "))
    assert all(RIGHT not in line for line in lines)
    with Ledger.open(ledger) as opened:
        assert opened.verify() == []
        assert opened.log(1)[0].payload == {"name": "ada", "role": "editor"}


def test_a_removed_account_leaves_no_password_session_or_token(access, ledger):
    session, token = access.sessions.start("ada"), access.tokens.add("ada", "x", "chat")
    access.accounts.remove("ada", author="root")
    assert access.accounts.all() == []
    assert access.sessions.holder(session) is None
    assert access.tokens.holder(token) is None
    assert all("$argon2id$" not in line for line in rows(ledger))
    with pytest.raises(NotAllowed):
        access.sign_in("ada", RIGHT, address="::1")
    with pytest.raises(UnknownRevision):
        access.accounts.remove("ada", author="root")


@pytest.mark.promise("P25")
def test_another_password_replaces_the_first_and_ends_the_sessions(access):
    session = access.sessions.start("ada")
    access.accounts.change_password("ada", "battery staple")
    assert access.sessions.holder(session) is None
    assert access.accounts.right("ada", "battery staple")
    assert not access.accounts.right("ada", RIGHT)
    with pytest.raises(UnknownRevision):
        access.accounts.change_password("bob", RIGHT)


@pytest.mark.promise("P23")
@pytest.mark.parametrize("password", ["", "short", "x" * 1025, "tab\there12", "nul\0here12"])
def test_a_password_that_cannot_be_used_is_refused(access, password):
    with pytest.raises(InvalidInput, match="password"):
        access.accounts.add("bob", "reader", password, author="root")
    assert access.accounts.role("bob") is None
    assert not access.accounts.right("ada", password)


@pytest.mark.parametrize("name", ["", "a b", "<b>", "x" * 65, "../x", "a\n"])
def test_a_name_is_a_plain_word(access, name):
    with pytest.raises(InvalidInput, match="is no name"):
        access.accounts.add(name, "reader", RIGHT, author="root")


def test_roles_are_in_order(access):
    access.allow("admin", "editor")
    for role in ("reader", None):
        with pytest.raises(NotAllowed, match="editor"):
            access.allow(role, "editor")


def test_composed_and_decomposed_letters_are_one_password(access):
    access.accounts.add("zoe", "reader", "caf\u00e9 caf\u00e9", author="root")
    assert access.accounts.right("zoe", "cafe\u0301 cafe\u0301")


@pytest.mark.promise("P23")
def test_the_default_cost_is_above_what_is_recommended():
    stored = Passwords(COST).hashed(RIGHT)
    assert stored.startswith("$argon2id$v=19$m=65536,t=6,p=1$")
    with pytest.raises(InvalidInput):
        Passwords(COST).hashed("short")


# --- guessing -----------------------------------------------------------------------------------


def tries(access: Access, count: int, name: str = "ada", address: str = "::1") -> list[str]:
    """The kinds of error of wrong passwords."""
    found = []
    for number in range(count):
        try:
            access.sign_in(name, f"wrong {number:04}", address=address)
        except NotAllowed as error:
            found.append(type(error).__name__)
    return found


@pytest.mark.promise("P24")
def test_a_thousand_guesses_are_five_looks(access, passwords, clock, ledger):
    found = tries(access, 1000)
    assert found == ["NotAllowed"] * 5 + ["TooManyAttempts"] * 995
    assert passwords.looked == 5
    with pytest.raises(TooManyAttempts) as caught:
        access.sign_in("ada", RIGHT, address="10.0.0.9")
    assert caught.value.seconds == limits.WAIT
    with again(clock, ledger) as later, pytest.raises(TooManyAttempts):
        later.sign_in("ada", RIGHT, address="10.0.0.9")
    clock.now += limits.WAIT
    assert access.sign_in("ada", RIGHT, address="10.0.0.9") == "editor"


@pytest.mark.promise("P24")
def test_the_wait_doubles_and_is_forgotten_after_a_day(access, clock):
    tries(access, 5)
    clock.now += limits.WAIT
    assert tries(access, 6) == ["NotAllowed"] * 5 + ["TooManyAttempts"]
    with pytest.raises(TooManyAttempts) as caught:
        access.sign_in("ada", RIGHT, address="::1")
    assert caught.value.seconds == 2 * limits.WAIT
    clock.now += limits.FORGOTTEN
    assert access.sign_in("ada", RIGHT, address="::1") == "editor"


@pytest.mark.promise("P24")
def test_an_address_that_tries_many_names_has_to_wait_too(access, passwords):
    for number in range(20):
        tries(access, 1, name=f"user{number}")
    assert passwords.looked == 5
    assert access.sign_in("ada", RIGHT, address="10.0.0.9") == "editor"


@pytest.mark.promise("P24")
def test_guesses_at_the_same_time_are_counted_one_by_one(access, passwords):
    threads = [threading.Thread(target=tries, args=(access, 3)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passwords.looked == 5


@pytest.mark.promise("P24")
def test_an_unknown_name_is_told_nothing_and_costs_a_look(access, passwords):
    messages = set()
    for name in ("ada", "nobody"):
        with pytest.raises(NotAllowed) as caught:
            access.sign_in(name, "wrong password", address=name)
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert passwords.looked == 2


# --- sessions and tokens ------------------------------------------------------------------------


@pytest.mark.promise("P25")
def test_a_session_ends_when_it_is_idle_too_old_or_ended(access, clock, ledger):
    session = access.sessions.start("ada")
    assert access.sessions.holder(session) == "ada"
    assert access.sessions.holder(session + "x") is None
    assert all(session not in line for line in rows(ledger))
    clock.now += keys.IDLE
    assert access.sessions.holder(session) == "ada"
    access.sessions.touch(session)
    clock.now += keys.IDLE + 1
    assert access.sessions.holder(session) is None
    other = access.sessions.start("ada")
    for _ in range(keys.LONGEST // keys.IDLE + 1):
        access.sessions.touch(other)
        clock.now += keys.IDLE
    assert access.sessions.holder(other) is None
    third = access.sessions.start("ada")
    access.sessions.end(third)
    assert access.sessions.holder(third) is None


def test_asking_for_a_session_changes_nothing(access, ledger):
    session = access.sessions.start("ada")
    before = rows(ledger)
    access.sessions.holder(session)
    access.sessions.touch(session)  # within the same minute
    assert rows(ledger) == before


@pytest.mark.promise("P25")
def test_secrets_do_not_repeat():
    assert len({keys.fresh() for _ in range(10_000)}) == 10_000


def test_a_token_is_shown_once_and_taken_back_by_its_beginning(access, ledger):
    secret = access.tokens.add("ada", "laptop", "read")
    found = access.tokens.holder(secret)
    assert (found.name, found.scope) == ("ada", "read")
    assert all(secret not in line for line in rows(ledger))
    (shown,) = access.tokens.all()
    with pytest.raises(UnknownRevision):
        access.tokens.remove("%%%%%%%%")
    access.tokens.remove(shown.id)
    assert access.tokens.holder(secret) is None
    with pytest.raises(InvalidInput, match="scope"):
        access.tokens.add("ada", "", "everything")


def test_a_token_ends_when_it_was_made_to_or_is_taken_back(access, clock):
    brief, lasting = access.tokens.add("ada", "", "edit", 2), access.tokens.add("ada", "", "chat")
    clock.now += 2 * tokens.DAY - 1
    assert access.bearer(brief).scope == "edit"
    clock.now += 1
    assert access.bearer(brief) is None
    assert access.bearer(lasting).expires_at is None
    access.tokens.remove(access.tokens.find(keys.digest(lasting)).id)
    assert access.bearer(lasting) is None
    for days in (0, -1, 40000):
        with pytest.raises(InvalidInput, match="days"):
            access.tokens.add("ada", "", "chat", days)
    with pytest.raises(InvalidInput, match="label"):
        access.tokens.add("ada", "x" * 201, "chat")


@pytest.mark.parametrize("overlap", [0, 3600])
def test_a_rotated_token_takes_the_place_of_the_old_one(access, clock, overlap):
    old = access.tokens.add("ada", "laptop", "read", 30)
    clock.now += 5 * tokens.DAY
    new = access.tokens.rotate(keys.digest(old)[:12], overlap=overlap)
    found = access.bearer(new)
    assert (found.name, found.label, found.scope) == ("ada", "laptop", "read")
    assert found.expires_at == clock.now + 30 * tokens.DAY
    assert (access.bearer(old) is not None) is bool(overlap)
    clock.now += overlap
    assert access.bearer(old) is None
    assert access.bearer(new) == found
    with pytest.raises(UnknownRevision):
        access.tokens.rotate("none00")


def test_a_token_may_do_no_more_than_its_account_may_now(access):
    secret = access.tokens.add("ada", "", "edit")
    access.accounts.change_role("ada", "reader", author="root")
    assert access.bearer(secret).scope == "read"
    access.accounts.change_role("ada", "admin", author="root")
    assert access.bearer(secret).scope == "edit"
    access.accounts.remove("ada", author="root")
    access.accounts.add("ada", "editor", RIGHT, author="root")
    assert access.bearer(secret) is None


def test_a_change_of_role_is_history_and_the_same_role_is_none(access, ledger):
    access.accounts.change_role("ada", "reader", author="root")
    access.accounts.change_role("ada", "reader", author="root")
    assert access.sign_in("ada", RIGHT, address="::1") == "reader"
    with Ledger.open(ledger) as opened:
        payloads = [(line.author, line.payload) for line in opened.log(3) if line.op == "user"]
        assert opened.verify() == []
    assert payloads == [
        ("root", {"name": "ada", "role": "reader"}),
        ("root", {"name": "ada", "role": "editor"}),
    ]
    for name, role, error in (("ada", "owner", InvalidInput), ("bob", "reader", UnknownRevision)):
        with pytest.raises(error):
            access.accounts.change_role(name, role, author="root")


# --- proposals ----------------------------------------------------------------------------------

BODY = {"subject": "Ada", "prompt": "{} was born in", "target_new": "巴黎"}


def test_a_proposal_is_used_once(access, ledger, clock):
    pending = access.proposals.open("edit", BODY, "ada")
    assert access.proposals.get(pending.id) == pending
    with pytest.raises(ProposalGone, match="not the proposal"):
        access.proposals.take(pending.id, "0" * 64)
    assert access.proposals.take(pending.id, pending.digest).body == BODY
    with again(clock, ledger) as later:
        for one in (access, later):
            with pytest.raises(ProposalGone, match="used already"):
                one.proposals.take(pending.id, pending.digest)


def test_a_proposal_is_good_for_five_minutes(access, clock):
    pending = access.proposals.open("edit", BODY, "ada")
    clock.now += waiting.SECONDS - 1
    assert access.proposals.usable(pending)
    clock.now += 1
    assert not access.proposals.usable(pending)
    with pytest.raises(ProposalGone, match="too old"):
        access.proposals.take(pending.id, pending.digest)


def test_a_withdrawn_proposal_is_useless_and_equal_ones_are_two(access):
    first, second = (access.proposals.open("edit", BODY, "ada") for _ in range(2))
    assert first.digest != second.digest
    access.proposals.withdraw(first.id)
    with pytest.raises(ProposalGone, match="withdrawn"):
        access.proposals.take(first.id, first.digest)
    access.proposals.take(second.id, second.digest)


def test_of_many_confirmations_at_once_one_wins(access):
    pending, won = access.proposals.open("edit", BODY, "ada"), []

    def take() -> None:
        with contextlib.suppress(ProposalGone):
            won.append(access.proposals.take(pending.id, pending.digest))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


# --- four eyes -----------------------------------------------------------------------------------


def test_with_four_eyes_nobody_confirms_what_he_proposed(access, ledger, clock):
    access.accounts.add("bob", "editor", RIGHT, author="root")
    before = access.propose("edit", BODY, "")
    access.accounts.need_four_eyes(True, author="root")
    access.accounts.need_four_eyes(True, author="root")
    with pytest.raises(NotAllowed, match="log in"):
        access.propose("edit", BODY, "")
    pending = access.propose("edit", BODY, "ada")
    for found, who in ((pending, "ada"), (before, "ada"), (before, "bob")):
        with pytest.raises(NotAllowed, match="somebody else"):
            access.confirm(found.id, found.digest, who=who, role="admin")
    with pytest.raises(NotAllowed, match="role"):
        access.confirm(pending.id, pending.digest, who="bob", role="reader")
    clock.now += waiting.WAITING - 1
    assert access.proposals.waiting() == [pending]
    access.confirm(pending.id, pending.digest, who="bob", role="editor")
    assert access.proposals.waiting() == []
    access.accounts.need_four_eyes(False, author="root")
    own = access.propose("edit", BODY, "ada")
    assert own.expires_at - own.created_at == waiting.SECONDS
    access.confirm(own.id, own.digest, who="ada", role="editor")
    assert [found.name for found in access.accounts.all()] == ["ada", "bob"]
    with Ledger.open(ledger) as opened:
        said = [line.payload["role"] for line in opened.log() if line.payload.get("name") == "*"]
        assert said == ["", "four-eyes"]
        assert opened.verify() == []


def test_a_proposal_is_refused_by_its_maker_or_an_editor(access):
    pending = access.propose("edit", BODY, "ada")
    for who, role in ((None, None), ("bob", "reader")):
        with pytest.raises(NotAllowed):
            access.refuse(pending.id, who=who, role=role)
    access.refuse(pending.id, who="bob", role="editor")
    other, nobodys = access.propose("edit", BODY, "ada"), access.propose("edit", BODY, "")
    access.refuse(other.id, who="ada", role="reader")
    access.refuse(nobodys.id, who=None, role=None)
    assert {access.proposals.get(p.id).state for p in (pending, other, nobodys)} == {"withdrawn"}


# --- the command --------------------------------------------------------------------------------


def given(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_accounts_from_the_command_line(kel: Kel, monkeypatch, tmp_path):
    given(monkeypatch, f"{RIGHT}\n")
    body = kel.json("user", "add", "ada", "--role", "admin")
    assert [(u["name"], u["role"]) for u in body["users"]] == [("ada", "admin")]
    given(monkeypatch, "battery staple\n")
    kel.json("user", "passwd", "ada")
    with Ledger.open(kel.place) as ledger:
        assert ledger.access.accounts.right("ada", "battery staple")
    token = kel.json("user", "token", "add", "ada", "--scope", "edit")["token"]
    (shown,) = kel.json("user", "token", "list")["tokens"]
    assert token.startswith(tokens.PREFIX)
    assert token not in str(shown)
    again_ = kel.json("user", "token", "rotate", shown["id"], "--overlap", "1", "--days", "7")
    assert (again_["scope"], again_["old"]["id"]) == ("edit", shown["id"])
    assert again_["token"] != token
    found = kel.json("user", "token", "list")["tokens"]
    old, new = sorted(found, key=lambda one: one["id"] != shown["id"])
    assert (old["expires_at"] - new["created_at"], new["expires_at"] - new["created_at"]) == (
        3600,
        7 * tokens.DAY,
    )
    assert "ends" in kel("user", "token", "list").out
    for token_ in (old, new):
        kel.json("user", "token", "remove", token_["id"])
    assert kel.json("user", "token", "list")["tokens"] == []
    assert kel.json("user", "four-eyes", "on")["four_eyes"] is True
    assert "does not confirm it" in kel("user", "list").out
    assert kel.json("user", "four-eyes", "off")["four_eyes"] is False
    assert kel.json("user", "role", "ada", "reader")["users"][0]["role"] == "reader"
    body = kel.json("user", "role", "ada", "admin")
    kel.json("export", str(tmp_path / "b"), "--form", "bundle")
    kel.json("import", str(tmp_path / "b"), str(tmp_path / "l"), "--no-replay")
    assert Kel(tmp_path / "l").json("user", "list")["users"] == body["users"]
    assert ask(tmp_path / "l", "SELECT count(*) FROM credential") == [(0,)]
    assert kel.json("user", "remove", "ada")["users"] == []


def test_what_the_command_refuses(kel: Kel, monkeypatch):
    given(monkeypatch, "short\n")
    kel.refused(2, "user", "add", "ada", says=["8 to 1024"])
    given(monkeypatch, "")
    kel.refused(2, "user", "add", "ada", says=["8 to 1024"])
    given(monkeypatch, f"{RIGHT}\n")
    kel.refused(2, "user", "passwd", "bob", says=["no account 'bob'"])
    kel.refused(2, "user", "role", "bob", "reader", says=["no account 'bob'"])
    kel.refused(2, "user", "token", "add", "bob", says=["no account 'bob'"])
    kel.refused(2, "user", "token", "rotate", "3fa94c", says=["no token"])
    kel.refused(2, "user", "token", "add", "bob", "--days", "0", says=["--days"])
    kel.refused(2, "user", "add", "bob", "--role", "owner", says=["owner"])
