"""Who gets into the desk, and who does not any more."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from pipeline.review.desk import Desk
from pipeline.review.people import RIGHTS, ROLES, Person
from pipeline.review.refusals import Forbidden, Missing, Refusal
from pipeline.review.users import ATTEMPTS, WINDOW
from pipeline.workspace.schema import REVIEW_EVENTS, REVIEW_SESSIONS, REVIEW_TOKENS, REVIEW_USERS
from tests.pipeline.review.scored import ADA, ANN, LEA, MONDAY, Clock, desk_config

PASSWORD = "a long sentence"


@pytest.fixture
def people(desk: Desk) -> Desk:
    """The desk with an admin ada and an analyst ann."""
    desk.add_user("ada", PASSWORD, "admin", ADA)
    desk.add_user("ann", PASSWORD, "analyst", ADA)
    return desk


def stored(desk: Desk, table: sa.Table) -> list[dict]:
    with desk.store.reading() as reading:
        return [dict(row) for row in reading.connection.execute(sa.select(table)).mappings()]


def test_nothing_that_lets_somebody_in_is_stored(people: Desk) -> None:
    session, token = people.log_in("ann", PASSWORD, "::1"), people.add_token("feed", ["list"], ANN)
    tables = (REVIEW_USERS, REVIEW_SESSIONS, REVIEW_TOKENS, REVIEW_EVENTS)
    text = str([stored(people, table) for table in tables])
    assert all(secret not in text for secret in (PASSWORD, session, token))
    assert all(row["password"].startswith("$argon2id$") for row in stored(people, REVIEW_USERS))


def test_a_session_ends_when_idle_or_old_or_ended(people: Desk, clock: Clock) -> None:
    token = people.log_in("ann", PASSWORD, "::1")
    assert people.session(token, "::2") == Person("ann", "analyst", "::2")
    assert people.session("x" + token, "::2") is None
    for _ in range(13):
        clock.ahead(minutes=50)
        assert people.session(token, "::1") is not None
    clock.now = MONDAY + timedelta(hours=12, minutes=1)
    assert people.session(token, "::1") is None
    token = people.log_in("ann", PASSWORD, "::1")
    clock.ahead(minutes=61)
    assert people.session(token, "::1") is None
    one, other = (people.log_in("ann", PASSWORD, "::1") for _ in range(2))
    assert one != other
    people.log_out(one, ANN)
    assert [people.session(token, "::1") is None for token in (one, other)] == [True, False]
    mark = people.sessions(ANN)[0].mark
    people.end_session(mark, LEA)
    assert people.session(other, "::1") is not None
    people.end_session(mark, ADA)
    assert people.session(other, "::1") is None


def test_logins_that_fail_are_slowed_down_per_user_and_address(people: Desk, clock: Clock) -> None:
    for name in ("ann", "nobody"):
        for _ in range(ATTEMPTS["both"]):
            with pytest.raises(Refusal, match="the name or the password is wrong"):
                people.log_in(name, "something else", "10.0.0.1")
        with pytest.raises(Refusal, match="wait until 2025-03-03 09:15 UTC"):
            people.log_in(name, PASSWORD, "10.0.0.1")
    assert people.session(people.log_in("ann", PASSWORD, "10.0.0.2"), "") is not None
    clock.ahead(seconds=WINDOW.total_seconds() + 1)
    assert people.session(people.log_in("ann", PASSWORD, "10.0.0.1"), "") is not None


def test_the_first_admin_comes_by_a_link_that_works_once(desk: Desk, clock: Clock) -> None:
    stale = desk.invite()
    link = desk.invite()
    assert link is not None
    with pytest.raises(Refusal, match="used or has ended"):
        desk.accept(str(stale), "ada", PASSWORD)
    clock.ahead(hours=23)
    desk.accept(link, "ada", PASSWORD)
    assert [(user.name, user.role) for user in desk.users(ADA)] == [("ada", "admin")]
    with pytest.raises(Refusal, match="used or has ended"):
        desk.accept(link, "eve", PASSWORD)
    assert desk.invite() is None


def test_a_link_ends_after_a_day(desk: Desk, clock: Clock) -> None:
    link = desk.invite()
    clock.ahead(hours=25)
    with pytest.raises(Refusal, match="used or has ended"):
        desk.accept(str(link), "ada", PASSWORD)


def test_another_password_or_role_ends_logins_and_the_last_admin_stays(people: Desk) -> None:
    token = people.log_in("ann", PASSWORD, "::1")
    people.change_user("ann", ANN, password="another sentence")
    assert people.session(token, "::1") is None
    with pytest.raises(Refusal, match="wrong"):
        people.log_in("ann", PASSWORD, "::1")
    token = people.log_in("ann", "another sentence", "::1")
    program = people.add_token("feed", ["list"], ANN)
    people.change_user("ann", ADA, is_ended=True)
    assert (people.session(token, "::1"), people.token(program, "::1")) == (None, None)
    with pytest.raises(Refusal, match="wrong"):
        people.log_in("ann", "another sentence", "::1")
    with pytest.raises(Refusal, match="ada is the last admin"):
        people.change_user("ada", ADA, role="lead")
    with pytest.raises(Missing, match="no user 'zoe'"):
        people.change_user("zoe", ADA, role="lead")
    with pytest.raises(Forbidden, match="'people' needs admin"):
        people.change_user("ada", ANN, password="stolen by another")


@pytest.mark.parametrize(
    ("user", "match"),
    [
        (("Ann B", PASSWORD, "analyst"), "can't be a user's name"),
        (("assay", PASSWORD, "analyst"), "can't be a user's name"),
        (("bob", "short", "analyst"), "has 10 to 1,000 characters, and this one has 5"),
        (("bob.dylan.63", "bob.dylan.63", "analyst"), "password is the user's name"),
        (("bob", PASSWORD, "boss"), "'boss' is no role; roles are viewer, analyst, lead, admin"),
        (("ann", PASSWORD, "analyst"), "there is a user 'ann' already"),
    ],
)
def test_what_can_be_no_user(people: Desk, user: tuple[str, str, str], match: str) -> None:
    with pytest.raises(Refusal, match=match):
        people.add_user(*user, ADA)


def test_a_token_is_for_its_scopes_and_its_time(people: Desk, clock: Clock) -> None:
    token = people.add_token("feed", ["list", "next"], ANN, until=MONDAY + timedelta(days=1))
    assert people.token(token, "::1") == (Person("ann", "analyst", "::1"), ("list", "next"))
    assert [each.title for each in people.tokens(ANN)] == ["feed"]
    with pytest.raises(Refusal, match="all is no scope"):
        people.add_token("feed", ["all"], ANN)
    with pytest.raises(Forbidden, match="'people' needs admin"):
        people.add_token("feed", ["list"], ANN, name="ada")
    clock.ahead(days=1)
    assert people.token(token, "::1") is None
    other = people.add_token("feed", ["list"], ADA, name="ann")
    people.end_token(people.tokens(ANN)[-1].mark, ANN)
    assert people.token(other, "::1") is None


def test_rights_grow_with_the_roles() -> None:
    for roles in RIGHTS.values():
        assert roles == ROLES[-len(roles) :]


def test_a_provider_makes_nobody_who_is_named_like_the_desk_or_like_no_user(tmp_path) -> None:
    roles = {"oidc_role_claim": "groups", "oidc_roles": {"team": "analyst"}, "oidc_new_users": True}
    desk = Desk(desk_config(tmp_path, **roles), Clock())
    for name in ("assay", "<script>", "Ann", "x" * 65, ""):
        with pytest.raises(Refusal, match="has no user"):
            desk.enter(name, "analyst", "127.0.0.1")
    with pytest.raises(Refusal, match="has no user"):
        desk.enter("ann", None, "127.0.0.1")
    token = desk.enter("ann", "analyst", "127.0.0.1")
    assert desk.session(token, "127.0.0.1") == Person("ann", "analyst", "127.0.0.1")
    assert desk.enter("ann", "lead", "127.0.0.1") != token
    assert desk.session(token, "127.0.0.1") is None  # another role ends what was signed in by the old one
    assert desk.verify().fault == ""
    desk.close()
