"""Every operation against the API's own OpenAPI document, with generated requests, by schemathesis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.server.api.served import ServedHub


def wrong_data_is_refused(ctx: Any, response: Any, case: Any) -> bool | None:
    """As schemathesis checks it, where the wrong part was sent: an empty list in a query has no form in a URL."""
    sent = {name for name, _ in parse_qsl(urlsplit(response.request.url).query, keep_blank_values=True)}
    return negative_data_rejection(ctx, response, case) if set(case.query or {}) <= sent else None


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    wrong_data_is_refused,
    ignored_auth,
    unsupported_method,
]
"""All of schemathesis' but one: that valid data is accepted, since names may be taken and servers unreachable."""
EXAMPLES = 25
"""Of each operation, valid ones and as many that are not."""
bounded = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHub]:
    with ServedHub(tmp_path_factory.mktemp("home")) as served:
        yield served


def leaves_the_network_policy(_: object, body: Any) -> bool:
    """It stays as it is: no generated URL may be called."""
    return not (isinstance(body, dict) and "network" in body)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_every_operation_does_what_its_document_says(
    served: ServedHub, mode: GenerationMode, subtests: pytest.Subtests
) -> None:
    schema = schemathesis.openapi.from_url(f"{served.url}/api/openapi.json")
    schema.hooks.hook("filter_body").apply_to(path="/api/settings")(leaves_the_network_policy)
    headers = {"Authorization": f"Bearer {served.token}"}
    tested = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if mode.is_negative and not (operation.query or operation.body or operation.path_parameters):
            continue

        @bounded
        @given(case=operation.as_strategy(generation_mode=mode))
        def answers(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS)

        with subtests.test(operation=operation.label):
            answers()
        tested += 1
    assert tested > 25
