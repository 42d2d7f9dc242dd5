"""Who may use the page: this computer, under its own name, with the token. Also what a page may do in the browser."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The parameter of the address that contains the token.
TOKEN = "token"  # noqa: S105 (its name, not the token)
# Nothing is loaded from elsewhere, no inline script runs, and no other page can frame this one.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no-referrer, a browser would send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_READING = {"GET", "HEAD"}


class Gate:
    """Middleware that admits requests with the token, and adds HEADERS to every reply.

    A request must name this computer as its host, so that no web page can reach it under another name; a request that
    writes must come from a page of ours.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self._app = app
        self._token = token
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        # All ports of a host share their cookies, so each server uses a cookie name of its own.
        self._cookie = f"sqlbatch_view_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, refuse it, or move the token from its address into a cookie."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *more]
            await send(message)

        reply = self._answer(scope)
        await (self._app if reply is None else reply)(scope, receive, send_with_headers)

    def _answer(self, scope: Scope) -> Response | None:
        """Return the reply to a request that is refused, None for one that is admitted."""
        request = Request(scope)
        host = request.headers.get("host", "").lower()
        if host not in self._hosts:
            return PlainTextResponse("This page answers on this computer only, as 127.0.0.1 or localhost.", 403)
        if request.method in _READING and self._is_token(request.query_params.get(TOKEN, "")):
            return self._remember(request)
        if not self._is_token(request.cookies.get(self._cookie, "")):
            return PlainTextResponse("Open the address that sqlbatch view printed: it has the token.", 403)
        if request.method not in _READING and not _is_from_here(request.headers, host):
            return PlainTextResponse("A change has to come from a page of sqlbatch view itself.", 403)
        return None

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self._token.encode())

    def _remember(self, request: Request) -> Response:
        """Store the token in a cookie, and redirect the browser to the same address without it."""
        rest = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != TOKEN])
        # Two slashes at the beginning would name another host.
        path = "/" + request.scope["path"].lstrip("/\\")
        reply = RedirectResponse(f"{path}?{rest}" if rest else path, 303)
        # Strict would keep the cookie from the redirect itself when a link in another program is followed.
        reply.set_cookie(self._cookie, self._token, httponly=True, samesite="lax", path="/")
        return reply


def _is_from_here(headers: Mapping[str, str], host: str) -> bool:
    """Whether a request that writes comes from a page of ours; a browser says so in one of two headers."""
    if "origin" in headers:
        return headers["origin"].lower() == f"http://{host}"
    return headers.get("sec-fetch-site") == "same-origin"
