"""The calls of the API held against their own description: what Schemathesis makes up is answered as that says."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from pipeline.review import users
from pipeline.review.people import ASSAY
from pipeline.review.web.app import make_app
from tests.pipeline.review.web.served import make_desk

CALLS = (
    *("GET /api/alerts", "GET /api/alerts/{key}", "POST /api/next", "POST /api/decisions", "POST /api/undo"),
    "GET /api/export",
)
SCOPES = ("list", "next", "decide", "export")


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    before = users._hasher
    desk = make_desk(tmp_path_factory.mktemp("desk"), range(1, 40))
    token = desk.add_token("fuzz", SCOPES, ASSAY, name="lead")
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", make_app(desk))
    schema.token = token
    yield schema
    assert desk.verify().fault == ""
    desk.close()
    users._hasher = before


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_answered_as_its_description_says(call: str, mode: GenerationMode, described: BaseSchema) -> None:
    method, path = call.split()
    headers = {"Authorization": f"Bearer {described.token}"}

    @given(case=described[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def answers(case: schemathesis.Case) -> None:
        response = case.call(headers=headers)
        # A well-formed decision may be on an alert that is not there, or come second.
        excluded = [positive_data_acceptance]
        sent = parse_qs(urlsplit(response.request.url or "").query, keep_blank_values=True)
        if not set(case.query or ()) <= set(sent):  # a parameter that is an empty list is left out of the address
            excluded.append(negative_data_rejection)
        case.validate_response(response, headers=headers, excluded_checks=excluded)

    answers()


def test_every_call_of_the_description_is_made_up(described: BaseSchema) -> None:
    assert {operation.ok().label for operation in described.get_all_operations()} == set(CALLS)
