"""What runs a trained network, by the file that it is in: the door to them all is `segmenter`.

A checkpoint runs by the fused graph of `frozen`, an exported graph by MXNet, an .onnx file by onnxruntime. Each has the
same attributes (labels, groups, title, record, on_gpu, gives_probabilities) and two methods: `classes` of pictures of
one size, (N, H, W, 3) uint8 -> (N, H, W) uint8, and `both` of one picture, with its (K, H, W) float32 probabilities.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np

from gluon_confseg import runtime, trained
from gluon_confseg.errors import ConfSegError, DatasetError, RunError, plain
from gluon_confseg.inference import Inference
from gluon_confseg.labels import LABEL_SPACES, LabelSpace, restored

SYMBOL, PARAMETERS, CARD = "-symbol.json", "-0000.params", ".json"  # endings of an exported graph's files
EXPORT_AGAIN = "export it again with: confseg export"


class Trained:
    """The network of a checkpoint, with any views."""

    gives_probabilities = True

    def __init__(self, path: Path, rule: str | None, inference: Inference):
        from gluon_confseg.frozen import FrozenNetwork
        from gluon_confseg.fusion import Fusion

        loaded = trained.load(path, rule)
        self.labels, self.groups, self.title = loaded.labels, loaded.network.groups, trained.describe(loaded)
        self.record = {**trained.record(loaded), "file": str(path), "format": "checkpoint"}
        self._rule, self._inference, self._device = loaded.rule, inference, runtime.default_context()
        fuse = Fusion.of(loaded.network, loaded.rule)
        fuse.hybridize()
        self._fusions = {loaded.rule: fuse}
        self._network = FrozenNetwork(loaded.network, self._fusions)
        self.on_gpu = self._device.device_type == "gpu"

    def classes(self, pictures: np.ndarray) -> np.ndarray:
        from gluon_confseg import engine

        images = self._images(pictures)
        return engine.predict(self._network, self._fusions, images, self._inference)[self._rule]

    def both(self, picture: np.ndarray) -> tuple:
        """(H, W, 3) -> the same classes, and (K, H, W) probabilities."""
        import mxnet as mx

        from gluon_confseg import engine, inference
        from gluon_confseg.grids import enlarge

        images = self._images(picture[None])
        if not self._inference.is_plain:
            found = inference.probabilities(self._network, self._fusions, images, self._inference)[self._rule]
            return engine.largest_class(found)[0], found[0]
        scores = inference.log_probabilities(self._network, self._fusions, images)[self._rule]
        stride = self._network.encoder.output_stride // self._fusions[self._rule].finer
        large = enlarge(mx.nd, scores, stride, images)
        # not of the probabilities, where rounding makes ties
        classes = engine.largest_class(large)[0]
        return classes, mx.nd.softmax(large, axis=1)[0].asnumpy()

    def _images(self, pictures: np.ndarray):
        from gluon_confseg import engine

        return engine.on_device(_normalised(pictures, self._network.normalisation), self._device)


class _Exported:
    """What an exported network's description says. `about` is the description, `path` the file for messages."""

    on_gpu, gives_probabilities = False, True

    def _describe(self, path: Path, about: dict, form: str) -> None:
        try:
            self.labels = _labels(about, path)
            settings, rule, classes = about["network"], about["rule"], self.labels.classes
            self.groups = [[classes.index(name) for name in group] for group in about["groups"]]
            self.normalisation = {name: tuple(map(float, about[name])) for name in ("mean", "std")}
            if {len(values) for values in self.normalisation.values()} != {3}:
                raise ValueError("mean and std of three colours are wanted")
            self.title = f"{trained.in_words(settings, rule)}, exported for {form}"
            self.record = {**trained.recorded(settings, rule), "file": str(path), "format": form}
        except (KeyError, TypeError, ValueError, IndexError, DatasetError) as error:
            raise RunError(
                f"{path}: its description can't be used ({plain(error)}); {EXPORT_AGAIN}"
            ) from error

    def _check_count(self, path: Path, found: int) -> None:
        if found != self.labels.num_classes:
            raise RunError(
                f"{path}: gives {found} classes, its description names {self.labels.num_classes}; {EXPORT_AGAIN}"
            )


class Symbol(_Exported):
    """PREFIX-symbol.json, PREFIX-0000.params and PREFIX.json."""

    def __init__(self, path: Path):
        import mxnet as mx

        from gluon_confseg.frozen import Frozen

        symbol, parameters, card = (symbol_of(path, end) for end in (SYMBOL, PARAMETERS, CARD))
        for file in (parameters, card):
            if not file.is_file():
                raise RunError(f"{file}: is not there, which belongs to {symbol}; {EXPORT_AGAIN}")
        about = _card(card, card)
        self._describe(symbol, about, "mxnet")
        for file in (symbol, parameters):
            _check_sum(file, about)
        self._device = runtime.default_context()
        self.on_gpu = self._device.device_type == "gpu"
        try:
            with warnings.catch_warnings():
                # MXNet wonders aloud about the type of running statistics that it then reads from the file
                warnings.filterwarnings("ignore", message="Cannot decide type")
                block = mx.gluon.SymbolBlock.imports(str(symbol), ["data"], str(parameters), ctx=self._device)
            self._scores = Frozen(lambda images: (block(images),), block)
            (scores,) = self._scores(mx.nd.zeros((1, 3, 32, 32), ctx=self._device))
            found = scores.shape[1]
        except (ValueError, KeyError, TypeError, AssertionError, mx.MXNetError) as error:
            raise RunError(f"{symbol}: can't be loaded ({_last_line(error)}); {EXPORT_AGAIN}") from error
        self._check_count(symbol, found)

    def classes(self, pictures: np.ndarray) -> np.ndarray:
        from gluon_confseg import engine

        return engine.largest_class(self._run(pictures))

    def both(self, picture: np.ndarray) -> tuple:
        from gluon_confseg import engine

        found = self._run(picture[None]).asnumpy()
        return engine.largest_class(found)[0], found[0]

    def _run(self, pictures: np.ndarray):
        from gluon_confseg import engine

        return self._scores(engine.on_device(_normalised(pictures, self.normalisation), self._device))[0]


class Onnx(_Exported):
    """An .onnx file, with or without normalisation and arg-max in the graph."""

    def __init__(self, path: Path):
        from gluon_confseg import onnx_export

        if not path.is_file():
            raise RunError(f"{path}: no such file; write it with: confseg export CHECKPOINT --out {path}")
        onnx_export.libraries()
        try:
            # pictures of many sizes: what one run took must not stay until the next
            self._session = onnx_export.session(str(path), keeps_memory=False)
            said = self._session.get_modelmeta().custom_metadata_map.get(onnx_export.CARD)
        except Exception as error:  # onnxruntime has an exception of its own for each kind of damage
            raise RunError(f"{path}: can't be loaded ({_last_line(error)}); {EXPORT_AGAIN}") from error
        if said is None:
            raise RunError(
                f"{path}: says nothing of its classes; give an .onnx file that `confseg export` wrote"
            )
        self._describe(path, _parsed(said, path), "onnx")
        beside = path.with_name(f"{path.name}.json")
        if beside.is_file():
            _check_sum(path, _card(beside, path))
        self._input = self._session.get_inputs()[0].name
        self.gives_probabilities = self._input == "data"
        if self.gives_probabilities:
            self._check_count(path, self._run(np.zeros((1, 32, 32, 3), np.uint8)).shape[1])

    def classes(self, pictures: np.ndarray) -> np.ndarray:
        from gluon_confseg import engine

        found = self._run(pictures)
        return engine.largest_class(found) if self.gives_probabilities else found

    def both(self, picture: np.ndarray) -> tuple:
        from gluon_confseg import engine

        found = self._run(picture[None])
        return engine.largest_class(found)[0], found[0]

    def _run(self, pictures: np.ndarray) -> np.ndarray:
        wanted = self.gives_probabilities
        given = _normalised(pictures, self.normalisation) if wanted else np.ascontiguousarray(pictures)
        return self._session.run(None, {self._input: given})[0]


def exported_in(folder: Path) -> Path | None:
    """The exported network in a folder that is no run's; None where there is none."""
    if not folder.is_dir() or (folder / "results.json").exists():
        return None
    found = sorted([*folder.glob(f"*{SYMBOL}"), *folder.glob("*.onnx")])
    if len(found) > 1:
        names = ", ".join(each.name for each in found[:4])
        raise RunError(f"{folder}: holds several exported networks ({names}); give one of them")
    return found[0] if found else None


def symbol_of(path: Path, end: str = SYMBOL) -> Path:
    """A file of an exported graph, from its prefix or one of its files."""
    prefix = str(path)
    for known in (SYMBOL, PARAMETERS, CARD):
        if prefix.endswith(known):
            prefix = prefix[: -len(known)]
            break
    return Path(prefix + end)


def _card(file: Path, network: Path) -> dict:
    from gluon_confseg.datasets import contents

    return _parsed(contents.text(file), network)


def _parsed(text: str, network: Path) -> dict:
    try:
        about = json.loads(text)
        if not isinstance(about, dict):
            raise ValueError("it is no object")
        return about
    except (ValueError, RecursionError) as error:
        raise RunError(f"{network}: its description is no JSON ({plain(error)}); {EXPORT_AGAIN}") from error


def _check_sum(file: Path, about: dict) -> None:
    """RunError where a file is not the one that its description was written with."""
    from gluon_confseg import export

    sums = about.get("files")
    said = sums.get(file.name) if isinstance(sums, dict) else None
    if said is not None and said != export.checksum(file.read_bytes()):
        raise RunError(f"{file}: is damaged, or of another network than its description; {EXPORT_AGAIN}")


def _labels(about: dict, path: Path) -> LabelSpace:
    """The classes of an exported network; of one that an older version exported, by the names of its classes."""
    if "labels" in about:
        return restored(about["labels"])
    classes = tuple(about["classes"])
    for known in LABEL_SPACES.values():
        if known.classes == classes:
            return known
    named = {"name": "exported", "title": f"the network {path.name}", "raw_ids": None}
    return restored({**named, "classes": list(classes), "colors": about["colors"]})


def _normalised(pictures: np.ndarray, normalisation: dict) -> np.ndarray:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32."""
    from gluon_confseg.datasets import normalize

    images = np.empty((len(pictures), 3, *pictures.shape[1:3]), np.float32)
    for picture, image in zip(pictures, images):
        normalize(picture, **normalisation, out=image)
    return images


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return plain(lines[-1] if isinstance(error, ConfSegError) else lines[-1].strip()[:150])
