"""Whatever a client sends, valid or not, the server replies as the API describes, and never with a 500."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from .openapi import DESCRIPTION

if TYPE_CHECKING:
    from sqlbatch.server import EmbeddedServer

FOUND = [cast("Any", found).ok() for found in schemathesis.openapi.from_dict(DESCRIPTION).get_all_operations()]
VALID = [(one, GenerationMode.POSITIVE) for one in FOUND]
INVALID = [(one, GenerationMode.NEGATIVE) for one in FOUND if one.body or one.query]  # any id is a valid one
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]


@pytest.mark.parametrize(
    ("operation", "mode"), [*VALID, *INVALID], ids=[f"{one.label}-{mode.value}" for one, mode in [*VALID, *INVALID]]
)
def test_every_reply_is_as_described(shared_server: EmbeddedServer, operation: Any, mode: GenerationMode) -> None:
    @seed(1)
    @settings(max_examples=8, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def look(case: Any) -> None:
        case.call_and_validate(base_url=shared_server.base_url, checks=CHECKS)

    look()
