"""Requests that must get a 4xx and a sentence: each a name, what is sent, and the statuses that are right."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import layouts
import numpy as np
import serving

UPLOAD, PIXELS, HEADERS, SECONDS = 100_000, 4_000, 4_096, 0.6  # the limits of the service that gets them
LIMITS = {"upload_bytes": UPLOAD, "pixels": PIXELS, "header_bytes": HEADERS, "body_seconds": SECONDS}


class Malformed(NamedTuple):
    """parts are sent one after the other, with a pause between; half_close: the sending side is closed then."""

    name: str
    parts: tuple
    statuses: tuple
    pause: float = 0.0
    half_close: bool = False


def post(
    body: bytes, kind: str | None = "image/png", target: str = "/segment", length: int | None = None, more=()
) -> bytes:
    """A whole request."""
    lines = [
        f"POST {target} HTTP/1.1",
        "Host: here",
        f"Content-Length: {len(body) if length is None else length}",
    ]
    lines += [f"Content-Type: {kind}"] * (kind is not None)
    return "\r\n".join([*lines, *more, "", ""]).encode("latin-1") + body


def form(*parts: tuple, end: str = "--x--\r\n", boundary: str = "x") -> bytes:
    """A form of (headers, content)."""
    body = b"".join(
        b"--x\r\n" + headers.encode("latin-1") + b"\r\n\r\n" + content + b"\r\n" for headers, content in parts
    )
    return post(body + end.encode(), f"multipart/form-data; boundary={boundary}")


def named(name: str, field: str = "picture") -> str:
    return f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\nContent-Type: image/png'


def header_of(width: int, height: int) -> bytes:
    """A PNG of so many pixels that holds none."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        layouts.chunk(kind, body)
        for kind, body in ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    )


def jpeg_of(width: int, height: int, data: bytes) -> bytes:
    """A JPEG whose frame declares another size."""
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def texts(size: int) -> bytes:
    """A small PNG with a text that unpacks to so many bytes."""
    whole = layouts.raw_png(np.zeros((4, 4), np.uint8), 8, 0)
    bomb = layouts.chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(size), 9))
    return whole[:33] + bomb + whole[33:]


def stuffed(size: int) -> bytes:
    """A PNG of 16 pixels whose data unpack to so many bytes."""
    head = struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(size), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(layouts.chunk(kind, body) for kind, body in chunks)


def requests() -> list:
    """All of them."""
    png, jpeg = serving.png(serving.picture(1)), serving.png(serving.picture(2), ".jpg")
    assert len(png) < UPLOAD
    found = []

    def add(name, *parts, statuses=(400,), **more) -> None:
        found.append(Malformed(name, parts, statuses, **more))

    # ---- no picture
    for kind in ("image/png", "image/jpeg", "application/octet-stream", "multipart/form-data; boundary=x"):
        add(f"nothing as {kind}", post(b"", kind))
    for content in (
        b"hello",
        b"\0" * 1000,
        b"{}",
        b"\x89PN",
        b"\xff\xd8",
        b"%PDF-1.4",
        b"<svg xmlns='...'/>",
    ):
        add(f"no picture: {content[:8]!r}", post(content), statuses=(415, 422))
    for content in (
        b"GIF89a" + bytes(50),
        b"BM" + bytes(50),
        b"RIFF\0\0\0\0WEBP" + bytes(50),
        b"II*\0" + bytes(50),
    ):
        add(f"another format: {content[:4]!r}", post(content, "application/octet-stream"), statuses=(415,))
    add("a form without parts", form())
    add("a form with a field alone", form(('Content-Disposition: form-data; name="a"', b"b")))
    add("a form with an empty file", form((named("a.png"), b"")))
    add("a form with two files", form((named("a.png"), png), (named("b.png"), png)))
    add("a form with a text as its file", form((named("a.png"), b"hello")), statuses=(415,))
    add("a form without disposition", form(("Content-Type: image/png", png)))
    add("a form with 40 parts", form(*[('Content-Disposition: form-data; name="a"', b"b")] * 40))
    add("a form whose part has long headers", form((f"X: {'a' * 9000}\r\n{named('a.png')}", png)))
    add("a form of another boundary", form((named("a.png"), png), boundary="other"))
    add("a form that names no boundary", post(b"--x\r\n", "multipart/form-data"))
    add("a form with an empty boundary", post(b"--\r\n", "multipart/form-data; boundary="))
    add("a form of zeros", post(bytes(500), "multipart/form-data; boundary=x"))

    # ---- bombs and what is too large
    for width, height in (
        (100_000, 100_000),
        (2**31 - 1, 2**31 - 1),
        (65_535, 65_535),
        (PIXELS + 1, 1),
        (1, PIXELS + 1),
    ):
        add(f"a PNG that declares {width} x {height}", post(header_of(width, height)), statuses=(413, 422))
    for width, height in ((65_500, 65_500), (30_000, 40_000), (64, 63)):
        add(
            f"a JPEG that declares {width} x {height}",
            post(jpeg_of(width, height, jpeg), "image/jpeg"),
            statuses=(413,),
        )
    add("a PNG of no pixels", post(header_of(0, 0)), statuses=(422,))
    add("a PNG whose data are missing", post(header_of(40, 40)), statuses=(422,))
    add("a PNG whose data unpack to 70 MB", post(stuffed(70_000_000)), statuses=(422,))
    add("a PNG whose text unpacks to 4 MB", post(texts(4_000_000)), statuses=(422,))
    add("a body that is too large", post(bytes(UPLOAD + 1)), statuses=(413,))
    add("a body that is far too large", post(bytes(20 * UPLOAD)), statuses=(413,))
    for declared in (UPLOAD + 1, 10**9, 10**18):
        add(
            f"a body of {declared} bytes is announced",
            post(b"", length=declared),
            statuses=(413, 400),
            half_close=True,
        )
    chunks = b"".join(b"1000\r\n" + bytes(4096) + b"\r\n" for _ in range(40)) + b"0\r\n\r\n"
    start = b"POST /segment HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    add("chunks that are too large together", start + chunks, statuses=(413,))

    # ---- truncated and damaged
    for share in range(5, 100, 5):
        add(f"a PNG cut at {share} %", post(png[: len(png) * share // 100]), statuses=(422,))
        add(f"a JPEG cut at {share} %", post(jpeg[: len(jpeg) * share // 100], "image/jpeg"), statuses=(422,))
    for at in (9, 20, 30, 60, 500, 2000, len(png) - 30, len(png) - 6):
        flipped = bytearray(png)
        flipped[at] ^= 1
        add(f"a PNG with a flipped bit at {at}", post(bytes(flipped)), statuses=(422, 413))
    for share in (0, 1, 50, 99):
        part = post(png)[: len(post(b"", length=len(png))) + len(png) * share // 100]
        add(f"a connection that ends at {share} % of the body", part, half_close=True)
    add("a connection that ends in the headers", post(png)[:40], half_close=True)
    add("chunks that end early", start + b"1000\r\nabc", half_close=True)
    add(
        "a form that ends early",
        post(form((named("a.png"), png)).partition(b"\r\n\r\n")[2][:-40], "multipart/form-data; boundary=x"),
    )
    add("a form without its last boundary", form((named("a.png"), png), end=""))

    # ---- wrong method or address
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"):
        add(
            f"{method} /segment",
            f"{method} /segment HTTP/1.1\r\nHost: here\r\n\r\n".encode(),
            statuses=(405, 404, 400),
        )
    for target in ("/", "/health", "/metrics", "/network", "/page.js"):
        add(f"POST {target}", post(png, target=target), statuses=(405,))
    for target in (
        "/predict",
        "/segment/",
        "/SEGMENT",
        "/segment/labels",
        "//segment",
        "/docs",
        "/favicon.ico",
    ):
        add(f"POST {target}", post(png, target=target), statuses=(404, 405))

    # ---- path-like names
    paths = (
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        "..\\..\\boot.ini",
        "C:\\a.png",
        "a/b.png",
        "%2e%2e%2f",
        "./a.png",
    )
    for path in paths:
        lines = f"GET /{path} HTTP/1.1\r\nHost: here\r\n\r\n".encode()
        add(f"GET /{path}", lines, statuses=(404, 400))
        add(f"answer={path}", post(png, target=f"/segment?answer={path}"))
        add(f"include={path}", post(png, target=f"/segment?include={path}"))
        if path not in ("%2e%2e%2f", "C:\\a.png"):  # the form's reader takes the last part of the latter
            add(f"a file named {path}", form((named(path.replace("\\", "\\\\")), png)))
    add("a file whose name holds a zero", form((named("a\0.png"), png)))
    for query in (
        "answer=",
        "answer=json&answer=json",
        "width=3",
        "include=a,b",
        "answer=labels&include=overlay",
        "%00=1",
    ):
        add(f"?{query}", post(png, target=f"/segment?{query}"))

    # ---- headers
    host = b"GET / HTTP/1.1\r\nHost: here\r\n"
    add("a header of 5 kB", host + b"X: " + b"a" * 5000 + b"\r\n\r\n", statuses=(431,))
    add("a header of 1 MB", host + b"X: " + b"a" * 10**6 + b"\r\n\r\n", statuses=(431,))
    add("a header without end", host + b"X: " + b"a" * 10**5, statuses=(431,))
    add(
        "a header in parts", host, *[b"X: " + b"a" * 1000 + b"\r\n"] * 8, b"\r\n", statuses=(431,), pause=0.01
    )
    add(
        "a thousand headers",
        host + b"".join(b"X%d: a\r\n" % n for n in range(1000)) + b"\r\n",
        statuses=(431,),
    )
    add("a long address", b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: here\r\n\r\n", statuses=(431,))
    add("a long query", b"GET /?" + b"a" * 5000 + b" HTTP/1.1\r\nHost: here\r\n\r\n", statuses=(431,))
    add("a header with a zero", host + b"X: a\0b\r\n\r\n")
    add("a header without name", host + b": a\r\n\r\n")
    add("a header without colon", host + b"hello\r\n\r\n")
    add("no Host", b"GET / HTTP/1.1\r\n\r\n")
    add("two Hosts", host + b"Host: there\r\n\r\n")
    for length in ("-1", "1e3", "abc", "0x10", "9" * 30, "1, 2"):
        add(f"Content-Length: {length}", b"POST /segment HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\n"
            b"Content-Length: " + length.encode() + b"\r\n\r\nabc", statuses=(400, 413))  # fmt: skip
    add("two Content-Lengths", post(png, more=("Content-Length: 3",)))
    add("an unknown Transfer-Encoding", post(b"", more=("Transfer-Encoding: gzip",)), statuses=(400, 501))
    add("a bad chunk", start + b"zz\r\nabc\r\n")
    add("a chunk of negative size", start + b"-5\r\nabc\r\n")

    # ---- no HTTP
    for line in (
        *(b"hello", b"GET", b"GET / HTTP/9.9", b"get / http", b"GET  / HTTP/1.1", b"GET /\xff HTTP/1.1"),
        *(b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 40, b"PRI * HTTP/2.0", b"SSH-2.0-OpenSSH_9.0"),
    ):
        add(f"no request: {line[:20]!r}", line + b"\r\n\r\n")

    # ---- wrong content type
    for kind in (
        *(
            None,
            "",
            "text/plain",
            "application/json",
            "image/gif",
            "image/webp",
            "image/*",
            "png",
            "image/png2",
        ),
        *("application/x-www-form-urlencoded", "multipart/mixed; boundary=x", "text/html; charset=utf-8"),
        *(";;;", "\xff\xfe"),
    ):
        add(f"a picture as {kind!r}", post(png, kind), statuses=(415,))
    for coding in ("gzip", "br", "deflate, gzip"):
        add(f"a body in {coding}", post(png, more=(f"Content-Encoding: {coding}",)), statuses=(415,))

    # ---- slow
    whole = post(png)
    add("a slow body", whole[:300], *[whole[n : n + 1] for n in range(300, 320)], statuses=(408,), pause=0.05)
    add("a body that stops", whole[:1000], statuses=(408,))
    add("slow headers", *[whole[n : n + 1] for n in range(20)], statuses=(408,), pause=0.05)
    add("headers that stop", whole[:30], statuses=(408,))
    return found
