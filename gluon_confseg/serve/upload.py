"""The picture of a request: a raw body, or a part of a form. Read within limits, and never written to a file."""

from __future__ import annotations

import asyncio

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from gluon_confseg.serve.limits import Limits, Refusal

RAW = ("image/png", "image/jpeg", "application/octet-stream")
FORM = "multipart/form-data"
_HOW = (
    "send the bytes of a PNG or JPEG with Content-Type image/png, image/jpeg or application/octet-stream, "
    "or a form (multipart/form-data) with one file"
)
_MOST_PARTS, _MOST_PART_HEADERS = 16, 8 * 2**10


async def read_picture(request: Request, limits: Limits) -> bytes:
    """The bytes of the one picture in a request, not yet looked at. Raises Refusal with 400, 408, 413 or 415."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    kind = kind.decode("latin-1").strip().lower()
    if kind not in (*RAW, FORM):
        what = "no Content-Type" if not kind else "a Content-Type that holds no picture"
        raise Refusal(415, f"the request has {what}; {_HOW}")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refusal(
            415, "the body is compressed (Content-Encoding), which is not read; send the file as it is"
        )
    body = await read_body(request, limits)
    picture = _from_form(body, options.get(b"boundary", b"")) if kind == FORM else body
    if not picture:
        raise Refusal(400, f"the picture is empty (0 bytes); {_HOW}")
    return picture


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body, of at most `upload_bytes`, within `body_seconds`."""
    too_large = Refusal(
        413,
        f"the body has more than {limits.upload_bytes:,} bytes; send a smaller picture, or compress it more",
    )
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit():  # h11 has refused it before
        raise Refusal(400, "Content-Length is no number")
    if int(declared) > limits.upload_bytes:
        raise too_large

    async def collect() -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limits.upload_bytes:
                raise too_large
            parts.append(part)
        return b"".join(parts)

    try:
        body = await asyncio.wait_for(collect(), limits.body_seconds)
    except asyncio.TimeoutError:
        raise Refusal(
            408, f"the body did not arrive within {limits.body_seconds:g} seconds; send it faster, or less"
        ) from None
    except ClientDisconnect:
        raise Refusal(400, "the body ended before all of it was there; send it again") from None
    if not body:
        raise Refusal(400, f"the request has no body; {_HOW}")
    return body


def _from_form(body: bytes, boundary: bytes) -> bytes:
    """The content of the one file in a form."""
    if not boundary:
        raise Refusal(400, "the form's Content-Type names no boundary; leave its making to the HTTP library")
    reader = _Form()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError):
        raise Refusal(
            400, "the form can't be read: it is damaged, or no multipart/form-data at all"
        ) from None
    if not reader.ended:
        raise Refusal(400, "the form is truncated, its last boundary is missing; send it again")
    if len(reader.files) != 1:
        found = "no file" if not reader.files else f"{len(reader.files)} files"
        raise Refusal(400, f"the form holds {found}, where one picture is wanted; {_HOW}")
    return reader.files[0]


class _Form:
    """Collects the files of a form; other fields are passed over."""

    def __init__(self):
        self.files, self.ended = [], False
        self._parts, self._headers, self._header_bytes = 0, {}, 0
        self._name, self._value, self._content = b"", b"", None

    def callbacks(self) -> dict:
        names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end", "end")
        return {f"on_{name}": getattr(self, f"_{name}") for name in (*names, "headers_finished")}

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise Refusal(400, f"the form has more than {_MOST_PARTS} parts, where one picture is wanted")
        self._headers, self._header_bytes, self._content = {}, 0, None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > _MOST_PART_HEADERS:
            raise Refusal(
                400, f"the headers of a part of the form have more than {_MOST_PART_HEADERS:,} bytes"
            )

    def _header_end(self) -> None:
        self._headers[self._name.strip().lower()] = self._value
        self._name, self._value = b"", b""

    def _headers_finished(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"filename", options.get(b"filename*"))
        if disposition != b"form-data" or name is None and options.get(b"name") != b"picture":
            return
        # nothing is named after it: whoever sends one means to have something written
        if name is not None and (set(name) & set(b"/\\\0") or name in (b".", b"..")):
            raise Refusal(400, "the file's name in the form is a path; give its last part, without folders")
        self._content = bytearray()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._content is not None:
            self._content += data[start:end]

    def _part_end(self) -> None:
        if self._content is not None:
            self.files.append(bytes(self._content))
            self._content = None

    def _end(self) -> None:
        self.ended = True
