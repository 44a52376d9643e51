"""The addresses of the service, and what each answers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from gluon_confseg import __version__
from gluon_confseg.datasets import pictures
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import CITYSCAPES
from gluon_confseg.limits import max_pixels
from gluon_confseg.serve import upload
from gluon_confseg.serve.answers import ANSWERS, PICTURES, Answerer, Wanted, png
from gluon_confseg.serve.limits import Limits, Refusal, headers_refusal
from gluon_confseg.serve.metrics import Metrics
from gluon_confseg.serve.queue import NAME, Job, NetworkQueue, sentence

PAGE = Path(__file__).parent / "page"
_DRAIN_SECONDS = 5.0
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'",
}
_BODY = {  # of the description, /openapi.json
    "requestBody": {
        "required": True,
        "content": {
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in upload.RAW},
            upload.FORM: {
                "schema": {
                    "type": "object",
                    "properties": {"picture": {"type": "string", "format": "binary"}},
                }
            },
        },
    },
    "parameters": [
        {"name": "answer", "in": "query", "schema": {"enum": list(ANSWERS), "default": "json"}},
        {
            "name": "include",
            "in": "query",
            "description": f"some of {', '.join(PICTURES)}, with commas between, into a JSON answer",
            "schema": {"type": "string"},
        },
    ],
}


def build(segmenter, queue: NetworkQueue, limits: Limits, metrics: Metrics, close: float) -> FastAPI:
    """The application of a network behind a queue, in whose thread alone the network runs. close: of `Answerer`."""
    answerer = Answerer(segmenter, close)
    # its pages of documentation would load scripts from elsewhere
    app = FastAPI(
        title="confseg serve", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False
    )

    @app.post("/segment", openapi_extra=_BODY, response_class=Response)
    async def segment(request: Request) -> Response:
        """Segment a picture, PNG or JPEG."""
        wanted, began = Wanted.of(request.query_params.multi_items()), time.monotonic()
        if wanted.answer == "confusion" or "confusion" in wanted.include:
            if not segmenter.gives_probabilities:
                raise Refusal(400, "this network gives classes alone, so nothing is known of its confusions")
        with queue.place():
            with metrics.timed("read"):
                data = await upload.read_picture(request, limits)
            loop = asyncio.get_running_loop()
            size = await loop.run_in_executor(None, _size, data, limits)
            answer = functools.partial(answerer.make, wanted)
            kind, content = await queue.run(Job(data, size, answer, answerer.close(wanted)))
        metrics.add("whole", time.monotonic() - began)
        return Response(content, media_type=kind)

    @app.get("/network")
    async def network() -> dict:
        """The network, its classes and groups, and the limits."""
        labels = segmenter.labels
        return {
            "network": segmenter.title,
            "classes": [
                {"id": k, "class": name, "color": "#{:02x}{:02x}{:02x}".format(*color)}
                for k, (name, color) in enumerate(zip(labels.classes, labels.colors))
            ],
            "groups": [[labels.classes[k] for k in group] for group in segmenter.groups],
            "confusion": segmenter.gives_probabilities,
            "example": _has_example(segmenter),
            "limits": {
                "upload_bytes": limits.upload_bytes,
                "pixels": limits.pixels,
                "queue": limits.queue,
                "body_seconds": limits.body_seconds,
                "answer_seconds": limits.answer_seconds,
            },
        }

    @app.get("/example.png", include_in_schema=False)
    async def example() -> Response:
        if not _has_example(segmenter):
            raise HTTPException(404)
        content = await asyncio.get_running_loop().run_in_executor(None, _example)
        return Response(content, media_type="image/png")

    @app.get("/health")
    async def health() -> Response:
        """Whether pictures are answered: 200, or 503."""
        working = queue.is_working
        said = {"status": "ok" if working else "stopping", "version": __version__, "waiting": queue.admitted}
        return JSONResponse(said, 200 if working else 503)

    @app.get("/metrics")
    async def figures() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    for path, file, kind in (
        ("/", "page.html", "text/html"),
        ("/page.css", "page.css", "text/css"),
        ("/page.js", "page.js", "text/javascript"),
    ):
        content = (PAGE / file).read_bytes()
        app.add_api_route(
            path, functools.partial(_file, content, kind), methods=["GET"], include_in_schema=False
        )

    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _no_such)
    app.add_exception_handler(404, _no_such)
    app.add_exception_handler(405, _no_such)
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(_Frame, metrics=metrics, limits=limits)
    return app


def _has_example(segmenter) -> bool:
    return segmenter.labels.classes == CITYSCAPES.classes


@functools.lru_cache(maxsize=1)
def _example() -> bytes:
    """A drawn street scene, of the series that the demonstration draws."""
    from gluon_confseg import demo, scenes

    return png(scenes.scene(demo.SEED, 0, *demo.SIZE)[0])


async def _file(content: bytes, kind: str) -> Response:
    return Response(content, media_type=kind)


def _size(data: bytes, limits: Limits) -> tuple[int, int]:
    """(width, height) by the header of a picture; Refusal 413, 415 or 422."""
    if pictures.kind_of(data) is None:
        raise Refusal(
            415, f"{NAME} is neither PNG nor JPEG, whatever its name says; convert it to one of them"
        )
    try:
        width, height = pictures.size_of(NAME, data)
    except DatasetError as error:
        raise Refusal(422, sentence(error)) from error
    most = min(limits.pixels, max_pixels())
    if width * height > most:
        raise Refusal(
            413,
            f"{NAME} is {width} x {height} pixels, more than the {most:,} that are taken; make it smaller, or cut it "
            "into parts",
        )
    if not width * height:
        raise Refusal(422, f"{NAME} has no pixels")
    return width, height


async def _refused(_: Request | None, refusal: Refusal) -> Response:
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    return JSONResponse({"error": refusal.sentence}, refusal.status, headers)


async def _no_such(request: Request, error: HTTPException) -> Response:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        said = f"this address does not take that method; it takes {allowed}"
    elif error.status_code == 404:
        said = "there is nothing at this address; POST a picture to /segment, or open / in a browser"
    else:
        said = str(error.detail)
    return JSONResponse({"error": said}, error.status_code, error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    return JSONResponse(
        {"error": "the service failed on this request; whoever runs it finds the reason in its log"}, 500
    )


class _Frame:
    """Around every request: it is counted, its answer gets headers, and what is unread of its body is passed over.

    A client that is still sending when the connection closes would see a broken pipe and no answer.
    """

    def __init__(self, app, metrics: Metrics, limits: Limits):
        self._app, self._metrics, self._limits = app, metrics, limits

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        names = dict(scope["headers"])
        unread = b"transfer-encoding" in names or names.get(b"content-length", b"0") != b"0"

        async def watched() -> dict:
            nonlocal unread
            message = await receive()
            unread = unread and bool(message.get("more_body"))
            return message

        async def drain() -> None:
            while unread:
                await watched()

        async def framed(message: dict) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered(scope["path"], message["status"])
                headers = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *headers]}
                if message["status"] == 408:
                    message["headers"].append((b"connection", b"close"))
                elif unread and b"expect" not in names:
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(drain(), _DRAIN_SECONDS)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            answer = await _refused(None, refusal)
            return await answer(scope, watched, framed)
        await self._app(scope, watched, framed)

    def _refusal(self, scope) -> Refusal | None:
        """Of what is wrong with a request whatever its address is."""
        if scope["http_version"] not in ("1.0", "1.1"):
            return Refusal(400, "the request is of another version than HTTP/1.1; use that")
        # headers that come in several parts are refused by the protocol, before they are complete
        size = len(scope["raw_path"]) + len(scope["query_string"])
        size += sum(len(name) + len(value) for name, value in scope["headers"])
        return headers_refusal(self._limits) if size > self._limits.header_bytes else None
