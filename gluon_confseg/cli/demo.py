"""`confseg demo`: what the package is about, in a minute and with no data set at hand."""

from __future__ import annotations

from pathlib import Path

from gluon_confseg import demo, trained
from gluon_confseg.cli import options, writable
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import RunError

SUMMARY = (
    "Draw street scenes, segment them by the network that ships with the package, and show what it confuses."
)
EXAMPLES = (
    ("demo", "needs no data set; half a minute"),
    ("demo RUN/checkpoints/subnets_ce.npz", "the same by a network of the recipe drawn that you trained"),
)
LISTED = 5  # pairs of classes


def add_arguments(parser) -> None:
    """A network, and where to."""
    options.add_checkpoint(parser, nargs="?", default=demo.NETWORK)
    parser.add_argument(
        "--scenes", type=options.positive, default=6, metavar="N", help="how many scenes to draw (default: 6)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("confseg-demo"),
        metavar="FOLDER",
        help="gets the scenes, the pictures and the confusion matrix (default: confseg-demo)",
    )


def run(arguments) -> Output:
    """Draw, segment, and show."""
    out = arguments.out
    writable.folder(out)
    loaded = trained.load(arguments.checkpoint, arguments.rule)

    from gluon_confseg import scenes
    from gluon_confseg.cli import matrices, scores
    from gluon_confseg.datasets import open_dataset
    from gluon_confseg.labels import CITYSCAPES
    from gluon_confseg.progress import Progress

    if loaded.labels.classes != CITYSCAPES.classes:
        raise RunError(
            f"{arguments.checkpoint}: its network knows the classes of {loaded.labels.title}, and the scenes that "
            "are drawn have those of Cityscapes; leave the checkpoint out, or give one of the recipe `drawn`"
        )
    root = out / "scenes"
    with Progress("drawing street scenes", arguments.scenes, "image") as bar:
        scenes.draw(
            root, 0, arguments.scenes, demo.SIZE, demo.SEED, lambda done, _: bar.update(done - bar.done)
        )
    dataset = open_dataset("cityscapes", root, "val")
    found, pictures = _segment(loaded, dataset, out / "pictures")
    matrix = found[loaded.rule]
    named = matrices.NamedMatrix(matrix, dataset.classes, dataset.labels, str(out), dataset.description)
    matrices.write(out / "confusion.npz", loaded.rule, named)
    pairs = scores.worst_pairs(named, LISTED)
    record = {
        "network": trained.record(loaded),
        "scenes": str(root),
        "mean_iou": {rule: float(counted.mean_iou()) for rule, counted in found.items()},
        "worst": pairs,
        "pictures": [str(picture) for picture in pictures],
        "confusion": str(out / "confusion.npz"),
    }
    return Output(_text(loaded, dataset, record, scores.pairs_table(pairs), arguments), record)


def _segment(loaded, dataset, folder: Path) -> tuple:
    """({rule: ConfusionMatrix} of subnet 0 alone and of the network's own rule, the pictures' files)."""
    import cv2

    from gluon_confseg import engine, files, runtime
    from gluon_confseg.datasets import whole_images
    from gluon_confseg.demo import picture
    from gluon_confseg.metrics import ConfusionMatrix

    rules = list(dict.fromkeys(("subnet0", loaded.rule)))
    found = {rule: ConfusionMatrix(dataset.labels.num_classes) for rule in rules}
    samples = whole_images(dataset, **loaded.network.normalisation)
    evaluated = engine.evaluate(
        loaded.network, samples, rules, dataset.labels.num_classes, device=runtime.default_context()
    )
    written = []
    for index, ((name,), predictions, counted) in enumerate(evaluated):
        for rule in rules:
            found[rule].counts += counted[rule].counts
        image, truth = dataset[index]
        shown = {heading(rule): predictions[rule][0] for rule in rules}
        pixels = picture.draw(image, truth, shown, dataset.labels)
        written.append(folder / f"{name}.png")
        content = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
        files.write_bytes(written[-1], content.tobytes())
    return found, written


def heading(rule: str) -> str:
    """A prediction by its fusion rule, in words."""
    return "subnet 0 alone" if rule == "subnet0" else f"all subnets, fused by {rule}"


def _text(loaded, dataset, record: dict, table: str, arguments) -> str:
    shipped = arguments.checkpoint == demo.NETWORK
    typed = demo.WORD if shipped else arguments.checkpoint
    scored = ", ".join(f"{heading(rule)} {100 * mean:.1f} %" for rule, mean in record["mean_iou"].items())
    names = dataset.classes
    groups = [", ".join(names[k] for k in group) for group in loaded.network.groups]
    steps = {
        f"confusion {arguments.out}": "the whole confusion matrix of these scenes",
        f"groups {arguments.out}": "the groups of classes that it shows",
        f"predict {typed} PICTURE --out segmented": "the same network on a picture of yours",
        "train drawn": "train such a network yourself, in about ten minutes on two CPU cores",
    }
    widest = max(map(len, steps))
    lines = [
        f"Network: {trained.describe(loaded)}{'; it ships with the package' if shipped else ''}.",
        f"Data: {dataset.description} They are drawn with seed {demo.SEED}, with which no network is trained unless "
        "--seed says so.",
        *([f"Groups that have a subnet: {'; '.join(groups)}."] if groups else []),
        "",
        f"mIoU: {scored}. So few scenes are an example and no comparison.",
        "",
        "The confusions that cost most mIoU:",
        table,
        "",
        "Pictures, each with the image, the ground truth, the predictions and their errors:",
        *(f"  {picture}" for picture in record["pictures"]),
        "",
        "Next:",
        *(f"  confseg {step:<{widest}}   {what}" for step, what in steps.items()),
        "The network was trained on drawn scenes alone, and nothing was measured on photographs.",
    ]
    return "\n".join(lines)
