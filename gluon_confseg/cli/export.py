"""`confseg export`: one graph of plain MXNet operators, checked against the live network."""

from __future__ import annotations

from pathlib import Path

from gluon_confseg.cli import networks, options, writable
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import RunError

SUMMARY = "Write a network with its fusion as one graph, which MXNet runs without this package, and check it."
EXAMPLES = (
    ("export RUN/checkpoints/subnets_ce.npz --out mynet", "mynet-symbol.json, mynet-0000.params, mynet.json"),
)


def add_arguments(parser) -> None:
    """A checkpoint, and where to."""
    options.add_checkpoint(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="PREFIX",
        help="what the names of the written files begin with",
    )


def run(arguments) -> Output:
    """Write graph, parameters and description."""
    prefix = arguments.out
    if prefix.is_dir():
        raise RunError(f"{prefix}: is a folder, where a prefix is wanted; give {prefix / 'network'}, say")
    writable.folder(prefix.parent)
    loaded = networks.load(arguments.checkpoint, arguments.rule)

    from gluon_confseg import export

    written = export.write(loaded.network, loaded.rule, loaded.labels, prefix)
    sizes = {
        str(file): file.stat().st_size for file in (written.symbol, written.parameters, written.description)
    }
    widest, checked = max(map(len, sizes)), ", ".join(f"{width} x {height}" for height, width in export.SIZES)
    text = [
        f"Network: {networks.describe(loaded)}.",
        *(f"  {name:<{widest}}  {_size(size):>8}" for name, size in sizes.items()),
        "Loaded by MXNet alone, its scores differ from the live network's by at most "
        f"{written.difference:.1g} (images of {checked}; allowed: {export.TOLERANCE:.0e}).",
        "Run it at any size, with only mxnet, numpy and opencv (from a checkout of this project):",
        f"  python symbols/run.py {prefix} picture.png --out labels.png",
    ]
    record = {
        "network": networks.record(loaded),
        "files": sizes,
        "difference": written.difference,
        "checked_sizes": [list(size) for size in export.SIZES],
    }
    return Output("\n".join(text), record)


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
