"""P23: passwords are stored so that a stolen database is of little use."""

from __future__ import annotations

import base64
import re
import threading
import time
from pathlib import Path

import pytest
from argon2 import PasswordHasher, Type
from argon2.low_level import hash_secret, verify_secret

from ledger import Ledger
from ledger.access import Access, passwords
from ledger.access.passwords import AT_ONCE, COST, LONGEST, Passwords
from ledger.errors import NotAllowed
from tests.sim.places import ask

pytestmark = pytest.mark.promise("P23")
RIGHT = "correct horse"
CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
# Of the reference implementation of argon2 (test.c, version 0x13, argon2id).
KNOWN = {
    (65536, 1, "password", "somesalt"): (
        "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"
    ),
    (256, 1, "password", "somesalt"): (
        "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"
    ),
    (256, 2, "password", "somesalt"): (
        "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"
    ),
    (65536, 1, "differentpassword", "somesalt"): (
        "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde"
    ),
    (65536, 1, "password", "diffsalt"): (
        "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c"
    ),
}


@pytest.fixture
def access(ledger: Path, clean: None):
    with Ledger.open(ledger) as opened:
        found = Access(opened.journal, passwords=Passwords(CHEAP))
        found.accounts.add("ada", "editor", RIGHT, author="root")
        yield found


def stored(ledger: Path) -> str:
    ((found,),) = ask(ledger, "SELECT password_hash FROM credential")
    return str(found)


@pytest.mark.parametrize("case", KNOWN, ids=str)
def test_the_hash_is_argon2id(case, figure):
    memory, lanes, password, salt = case
    made = hash_secret(password.encode(), salt.encode(), 2, memory, lanes, 32, Type.ID)
    assert base64.b64decode(made.rpartition(b"$")[2] + b"=").hex() == KNOWN[case]
    assert Passwords(CHEAP).match(made.decode(), password)
    assert not Passwords(CHEAP).match(made.decode(), password + "x")
    figure("P23", "{} vectors of the reference implementation: equal", 1)


def test_what_is_stored_says_its_cost_and_has_a_salt_of_its_own(figure):
    begun = time.perf_counter()
    first = Passwords().hashed(RIGHT)
    seconds = time.perf_counter() - begun
    found = re.fullmatch(
        r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d)\$([\w+/]{22})\$[\w+/]{43}", first
    )
    assert found
    assert (int(found[1]), int(found[2]), int(found[3])) == tuple(
        COST[name] for name in ("memory_cost", "time_cost", "parallelism")
    )
    assert COST["memory_cost"] >= 19 * 1024
    assert seconds > 0.1
    assert Passwords(CHEAP).hashed(RIGHT) != Passwords(CHEAP).hashed(RIGHT)
    assert verify_secret(first.encode(), RIGHT.encode(), Type.ID)
    figure("P23", f"argon2id, {COST['memory_cost'] // 1024} MiB, {COST['time_cost']} passes")


@pytest.mark.parametrize(
    "raised", [{"time_cost": 2}, {"memory_cost": 16}, {"memory_cost": 16, "parallelism": 2}]
)
def test_a_login_stores_the_password_anew_when_the_cost_was_raised(access, ledger, raised):
    session, before = access.sessions.start("ada"), stored(ledger)
    access.sign_in("ada", RIGHT, address="::1")
    assert stored(ledger) == before
    with Ledger.open(ledger) as opened:
        dearer = Access(opened.journal, passwords=Passwords({**CHEAP, **raised}))
        with pytest.raises(NotAllowed):
            dearer.sign_in("ada", "wrong password", address="::1")
        assert stored(ledger) == before
        assert dearer.sign_in("ada", RIGHT, address="::1") == "editor"
        after = stored(ledger)
        assert after != before
        assert not PasswordHasher(**{**CHEAP, **raised}).check_needs_rehash(after)
        dearer.sign_in("ada", RIGHT, address="::1")
        assert stored(ledger) == after
        assert opened.verify() == []
    assert access.sessions.holder(session) == "ada"


def test_a_password_that_was_changed_meanwhile_stays(access, ledger):
    with Ledger.open(ledger) as opened:
        dearer = Access(opened.journal, passwords=Passwords({**CHEAP, "time_cost": 2}))
        original = dearer.accounts._passwords.hashed

        def late(password: str) -> str:
            access.accounts.change_password("ada", "another horse")
            return original(password)

        dearer.accounts._passwords.hashed = late  # type: ignore[method-assign]
        dearer.sign_in("ada", RIGHT, address="::1")
    assert access.accounts.right("ada", "another horse")
    assert not access.accounts.right("ada", RIGHT)


@pytest.mark.parametrize(
    "password", ["", "x", RIGHT + "\0", "\ud800" * 8, "x" * (LONGEST + 1), "x" * 1_000_000]
)
def test_what_can_be_no_password_is_wrong_and_costs_as_much(access, password, monkeypatch, figure):
    work: list[int] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, hash: str, given: str) -> bool:
        work.append(len(given))
        return verify(self, hash, given)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    begun = time.perf_counter()
    for name in ("ada", "nobody"):
        with pytest.raises(NotAllowed, match="the name or the password is wrong"):
            access.sign_in(name, password, address=name)
    assert time.perf_counter() - begun < 5
    assert len(work) == 2
    assert max(work) <= LONGEST
    figure("P23", "{} texts that can be no password: wrong, at the cost of one", 1)


def test_two_passwords_are_looked_at_at_a_time(monkeypatch, figure):
    gauge, most, lock = [0], [0], threading.Lock()

    class Slow:
        def verify(self, stored: str, password: str) -> bool:
            with lock:
                gauge[0] += 1
                most[0] = max(most[0], gauge[0])
            time.sleep(0.02)
            with lock:
                gauge[0] -= 1
            return True

        hash = verify

    shared = Passwords(CHEAP)
    monkeypatch.setattr(passwords.Passwords, "_hasher", Slow())
    threads = [threading.Thread(target=shared.match, args=("stored", RIGHT)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == AT_ONCE == 2
    figure("P23", f"8 at once: {most[0]} looked at at a time")
