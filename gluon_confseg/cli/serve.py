"""`confseg serve`: a network behind HTTP, with a page to try it."""

from __future__ import annotations

import ipaddress
import json
import os
import sys

from gluon_confseg import serve
from gluon_confseg.cli import options, predict, views

SUMMARY = (
    "Answer HTTP requests: a picture is posted, its classes come back; with a page to try it in a browser."
)
EXAMPLES = (
    ("serve demo", "the network that ships with the package, at http://127.0.0.1:8000"),
    ("serve RUN --port 0", "the best network of a run, at any free port"),
)
_MIB = 2**20


def add_arguments(parser) -> None:
    """A network, an address, and limits."""
    options.add_checkpoint(parser, exported=True)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen (default: 127.0.0.1, which this machine alone can reach; 0.0.0.0 is for everybody)",
    )
    parser.add_argument(
        "--port",
        type=options.number(int, 0, 65535, "a port from 0 to 65535"),
        default=8000,
        metavar="N",
        help="the port (default: 8000; 0 takes any that is free)",
    )
    limit = options.number(float, 0.001, 10**5, "a number above 0")
    parser.add_argument(
        "--max-upload",
        type=limit,
        default=16,
        metavar="MIB",
        help="the largest body of a request in MiB (default: 16); a larger one gets 413",
    )
    parser.add_argument(
        "--max-pixels",
        type=options.number(int, 1, 2**30, "a whole number from 1 to 2**30"),
        default=2**23,
        metavar="N",
        help="the most pixels of a picture (default: 8388608, a little more than 4K); a larger one gets 413",
    )
    parser.add_argument(
        "--queue",
        type=options.number(int, 1, 10**4, "a whole number from 1 to 10000"),
        default=128,
        metavar="N",
        help="how many requests are read or wait at a time (default: 128); others get 503",
    )
    parser.add_argument(
        "--body-seconds",
        type=limit,
        default=30,
        metavar="S",
        help="how long a body may take to arrive (default: 30); a slower one gets 408",
    )
    parser.add_argument(
        "--answer-seconds",
        type=limit,
        default=60,
        metavar="S",
        help="how long a picture may wait for its answer (default: 60); a later one gets 503",
    )
    parser.add_argument(
        "--batch",
        type=options.number(int, 1, 64, "a whole number from 1 to 64"),
        default=8,
        metavar="N",
        help="how many small pictures of one size the network gets at once (default: 8)",
    )
    parser.add_argument(
        "--close",
        type=options.number(float, 0, 1, "a difference of probabilities from 0 to 1"),
        default=predict.CLOSE,
        metavar="D",
        help=f"how far apart the two best probabilities may be where classes are confused (default: {predict.CLOSE})",
    )
    views.add_arguments(parser)


def run(arguments) -> int:
    """Load, listen, answer until a signal."""
    serve.need_libraries()
    inference = views.inference(arguments)
    # shapes are as many as the pictures' sizes: what oneDNN prepares for each would stay for ever
    os.environ.setdefault("MXNET_MKLDNN_CACHE_NUM", "2048")

    from gluon_confseg import segmenter
    from gluon_confseg.serve import server
    from gluon_confseg.serve.limits import Limits

    limits = Limits(
        upload_bytes=max(1, round(arguments.max_upload * _MIB)),
        pixels=arguments.max_pixels,
        queue=arguments.queue,
        body_seconds=arguments.body_seconds,
        answer_seconds=arguments.answer_seconds,
        batch=arguments.batch,
    )
    listening = server.bound(arguments.host, arguments.port)
    network = segmenter.open_network(arguments.checkpoint, rule=arguments.rule, inference=inference)
    host, port = listening.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def ready() -> None:
        if not ipaddress.ip_address(host).is_loopback:
            print(
                "Note: there is neither a password nor encryption, and whoever reaches this address can use it; put "
                "a reverse proxy in front of it where that is not meant.",
                file=sys.stderr,
                flush=True,
            )
        if arguments.json:
            print(json.dumps({"address": address, "network": network.record}), flush=True)
        else:
            print(f"Network: {network.title}.\nOpen {address} in a browser; Ctrl-C ends it.", flush=True)

    answered = server.Service(network, listening, limits, close=arguments.close).run(ready)
    if not arguments.json:
        print(f"Stopped; {answered:,} pictures were segmented.", flush=True)
    return 0
