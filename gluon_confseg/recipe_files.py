"""Finds and reads recipes, which are Python files: the package's own, by name, and any file of a user, by path."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

from .errors import RunError, did_you_mean
from .recipe import Recipe


@dataclasses.dataclass(frozen=True)
class RecipeFile:
    """A recipe's file.

    story      its docstring: how to run it, what it costs and gives
    profiles   name -> Recipe; the first is the default
    former     earlier names of profiles -> those of today
    """

    path: Path
    story: str
    profiles: dict
    former: dict

    def profile(self, name: str | None) -> Recipe:
        """A profile by name; None: the first. Raises RunError for an unknown name."""
        name = self.former.get(name, name) or next(iter(self.profiles))
        if name not in self.profiles:
            raise RunError(
                f"--profile {name}: {self.path.stem} has no such profile{did_you_mean(name, self.profiles)}; its "
                f"profiles are {', '.join(self.profiles)}"
            )
        return self.profiles[name]


def folder() -> Path:
    """The folder of the package's recipes: installed with it, or experiments/ in a checkout."""
    installed = Path(__file__).parent / "recipes"
    return installed if installed.is_dir() else Path(__file__).resolve().parent.parent / "experiments"


def names() -> list:
    """The recipes that `find` knows by name: the files at the top of `folder()`."""
    return sorted(path.stem for path in folder().glob("*.py") if path.stem != "__init__")


def find(name) -> RecipeFile:
    """A recipe by its name, or by the path of its file. Raises RunError where it finds no recipe."""
    path = Path(name)
    if path.suffix == ".py":
        return read(path)
    if str(name) not in names():
        raise RunError(
            f"there is no recipe {str(name)!r}{did_you_mean(name, names())}; the recipes are {', '.join(names())}, "
            "and a recipe of your own is given by its file's name, which ends in .py"
        )
    return read(folder() / f"{name}.py")


def read(path: Path) -> RecipeFile:
    """Run a recipe's file, and check what it defines: PROFILES, {name: Recipe}, or one RECIPE."""
    if not path.is_file():
        raise RunError(
            f"{path}: there is no such file; give a recipe's name ({', '.join(names())}) or its file"
        )
    spec = importlib.util.spec_from_file_location(f"confseg_recipe_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # no files appear beside a user's
    sys.modules[spec.name] = module  # dataclasses look for their module there
    try:
        spec.loader.exec_module(module)
    except RunError as error:
        raise RunError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        raise RunError(
            f"{path}: can't be run as a recipe ({type(error).__name__}: {error}); mend it"
        ) from error
    finally:
        sys.dont_write_bytecode = before
    profiles = getattr(module, "PROFILES", None) or {"full": getattr(module, "RECIPE", None)}
    if not isinstance(profiles, dict) or not all(isinstance(recipe, Recipe) for recipe in profiles.values()):
        raise RunError(
            f"{path}: defines no recipe; it needs PROFILES = {{name: gluon_confseg.recipe.declare(...)}}, or a RECIPE"
        )
    return RecipeFile(path, (module.__doc__ or "").strip(), profiles, getattr(module, "FORMER", {}))
