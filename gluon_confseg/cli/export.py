"""`confseg export`: one graph of plain MXNet operators, checked against the live network."""

from __future__ import annotations

from gluon_confseg import export
from gluon_confseg.cli import networks, outputs
from gluon_confseg.cli.answer import Answer
from gluon_confseg.errors import RunError


def run(arguments) -> Answer:
    """Write graph, parameters and description."""
    prefix = arguments.out
    if prefix.is_dir():
        raise RunError(f"{prefix}: is a folder, where a prefix is wanted; give {prefix / 'network'}, say")
    outputs.folder(prefix.parent)
    loaded = networks.load(arguments.checkpoint, arguments.rule)
    written = export.write(loaded.network, loaded.rule, loaded.labels, prefix)
    sizes = {
        str(file): file.stat().st_size for file in (written.symbol, written.parameters, written.description)
    }
    checked = [list(size) for size in export.SIZES]
    record = {"network": networks.record(loaded), "files": sizes, "difference": written.difference}
    return Answer(_text(prefix, loaded, sizes, written.difference), {**record, "checked_sizes": checked})


def _text(prefix, loaded, sizes: dict, difference: float) -> str:
    widest = max(map(len, sizes))
    checked = ", ".join(f"{width} x {height}" for height, width in export.SIZES)
    return "\n".join(
        [
            f"Network: {networks.describe(loaded)}.",
            *(f"  {name:<{widest}}  {_size(size):>8}" for name, size in sizes.items()),
            "Loaded by MXNet alone, its scores differ from the live network's by at most "
            f"{difference:.1g} (images of {checked}; allowed: {export.TOLERANCE:.0e}).",
            "Run it at any size, with only mxnet, numpy and opencv (from a checkout of this project):",
            f"  python symbols/run.py {prefix} picture.png --out labels.png",
        ]
    )


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
