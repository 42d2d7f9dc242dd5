"""Pictures of rows for the browser: from a file or from bytes, never from another host."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from starlette.responses import PlainTextResponse, Response

from sqlbatch.db.files import size_of
from sqlbatch.query.pictures import TYPE_OF_CONTENT, located
from sqlbatch.view.relation import find_table
from sqlbatch.view.values import Kind, bytes_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from sqlbatch.db.session import Session
    from sqlbatch.view.site import Site

# The most bytes of a picture on a page.
MOST = 50_000_000


def picture(site: Site, request: Request) -> Response:
    """Return a picture of a row; 404 for anything that is not a picture."""
    rowid, place = request.path_params["rowid"], request.path_params["place"]

    def read(session: Session) -> tuple[object, str | None]:
        found = find_table(session, request)
        column = found.column(request.path_params["column"])
        if column is None or column.kind is not Kind.PICTURE or found.is_view:
            return None, None
        value = bytes_of(column) or (column.sql if column.type.endswith("[]") else f"[{column.sql}::VARCHAR]")
        element = value if bytes_of(column) else f"({value})[{place + 1}]"
        rows = session.run("view.one_value", {"rowid": rowid, "most": MOST}, table=found.sql, value=element)
        return (rows[0][0] if rows else None), found.asked.folder if found.asked is not None else None

    value, folder = site.database.read(read)
    content = value if isinstance(value, bytes) else _content(str(value), Path(folder or ".")) if value else None
    kind = type_of(content) if content else None
    if content is None or kind is None:
        return PlainTextResponse("This is no PNG, JPEG, WEBP or GIF picture.", 404)
    return Response(content, media_type=kind)


def _content(text: str, folder: Path) -> bytes | None:
    """Return the bytes that a text names; None for a URL of another host, and if it cannot be read."""
    if re.match(r"https?://", text, re.IGNORECASE):
        return None
    if text[:5].lower() == "data:":
        head, _, encoded = text.partition(",")
        try:
            return base64.b64decode(encoded, validate=True) if head.lower().endswith(";base64") else None
        except (binascii.Error, ValueError):
            return None
    path = located(text, folder)
    size, _ = size_of(path)
    if size is None or size > MOST:
        return None
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def type_of(content: bytes) -> str | None:
    """Return a picture's type by its bytes, as for the model; None if it is not a picture."""
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT {TYPE_OF_CONTENT} FROM (SELECT $1::BLOB AS content)", [content]).fetchall()
    return str(found[0][0]) if found[0][0] is not None else None


READ = {"/pictures/{schema}/{table}/{column}/{rowid:int}/{place:int}": picture}
