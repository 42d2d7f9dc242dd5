"""The control endpoint of a server with faults: its rules, its ledger, the requests it received, and its clock."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from starlette.routing import Route

from sqlbatch.errors import ServerError
from sqlbatch.server.http import ApiError, Json, read_object
from sqlbatch.server.testing.faults import read_rules

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from sqlbatch.server.app import AppContext
    from sqlbatch.server.testing.faults import Faults
    from sqlbatch.server.testing.ledger import Ledger

_MAX_BODY = 1024 * 1024


def routes() -> list[Route]:
    """Return the routes below /control."""
    return [
        Route("/control/faults", show_faults, methods=["GET"]),
        Route("/control/faults", change_faults, methods=["PUT", "POST", "DELETE"]),
        Route("/control/ledger", show_ledger),
        Route("/control/requests", show_requests),
        Route("/control/clock", show_clock, methods=["GET"]),
        Route("/control/clock", move_clock, methods=["POST"]),
    ]


async def show_faults(request: Request) -> Response:
    """GET /control/faults: every rule, with the number of its `occasions` and how often it `fired`."""
    return Json({"fault": _faults(request).as_json()})


async def change_faults(request: Request) -> Response:
    """PUT replaces all rules, POST adds rules, DELETE removes all rules."""
    faults = _faults(request)
    if request.method == "DELETE":
        faults.replace([])
    else:
        try:
            rules = read_rules(await read_object(request, _MAX_BODY))
        except ServerError as error:
            raise ApiError(400, str(error)) from error
        if request.method == "PUT":
            faults.replace(rules)
        else:
            faults.add(rules)
    return Json({"fault": faults.as_json()})


async def show_ledger(request: Request) -> Response:
    """GET /control/ledger: the executed requests; `batch_id` selects one batch."""
    ledger: Ledger = request.app.state.context.ledger
    return Json({"data": ledger.entries(request.query_params.get("batch_id"))})


async def show_requests(request: Request) -> Response:
    """GET /control/requests: the received HTTP requests, oldest first; status 0 means that the reply was dropped."""
    context: AppContext = request.app.state.context
    return Json({"data": [dataclasses.asdict(one) for one in context.requests]})


async def show_clock(request: Request) -> Response:
    """GET /control/clock."""
    context: AppContext = request.app.state.context
    return Json({"now": context.clock.now(), "speed": context.clock.speed})


async def move_clock(request: Request) -> Response:
    """POST /control/clock with `{"advance": SECONDS}`."""
    context: AppContext = request.app.state.context
    seconds = (await read_object(request, _MAX_BODY)).get("advance")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise ApiError(400, "advance must be a number of seconds, 0 or more", param="advance")
    context.clock.advance(seconds)
    context.state.save_clock(context.clock)
    context.runner.clock_moved()
    return await show_clock(request)


def _faults(request: Request) -> Faults:
    faults: Faults = request.app.state.context.faults  # never None: these routes exist only with faults
    return faults
