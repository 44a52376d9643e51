"""The documentation says what the code says: errors, options, public names, and the numbers in its drawings."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from experiments import PROJECT
from experiments.tools import drawings
from gluon_confseg import cli

DOCS = PROJECT / "docs"
SOURCES = [*(PROJECT / "gluon_confseg").rglob("*.py"), PROJECT / "requirements" / "setup_env.py"]
GAP = "…"  # stands for what differs from case to case


# ---- troubleshooting


def sentences(path: Path) -> list:
    """Every string of a Python file as it will be said, with GAP where a value is put in."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(p.value if isinstance(p, ast.Constant) else GAP for p in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


SAID = [" ".join(text.split()) for path in SOURCES for text in sentences(path)]
SAID += [" ".join((PROJECT / "requirements" / "bootstrap.sh").read_text(encoding="utf-8").split())]


def is_said(quote: str) -> bool:
    """Whether the parts of a quoted error stand in one string of the sources, in this order."""
    parts = [" ".join(part.split()) for part in quote.split(GAP)]
    for text in SAID:
        place = 0
        for part in parts:
            found = text.find(part, place)
            if found < 0:
                break
            place = found + len(part)
        else:
            return True
    return False


QUOTES = re.findall(
    r"^\*\*`(.*)`\*\*$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
)


def test_every_quoted_error_is_still_said():
    assert len(QUOTES) >= 40 and len(set(QUOTES)) == len(QUOTES)
    assert [quote for quote in QUOTES if not is_said(quote)] == []


def test_a_quote_that_nothing_says_is_noticed():
    assert is_said("MXNet needs the system library …, which is missing")
    for quote in (
        "MXNet needs the system library …, which is gone",
        "… is missing, MXNet needs the system library",
    ):
        assert not is_said(quote)


# ---- the command line


VERBS = cli.parser()._verbs.choices
SECTIONS = dict(re.findall(r"^## ([a-z]+)\n(.*?)(?=^## |\Z)", (DOCS / "cli.md").read_text(encoding="utf-8"),
                           re.MULTILINE | re.DOTALL))  # fmt: skip
# options that several verbs share are explained once
SHARED = {"--json", "--rule", "--flip", "--scales", "--window", "--overlap", "--bicubic", "--crf"}


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_of_the_command_line_has_every_option(verb):
    options = {name for name in VERBS[verb]._option_string_actions if name.startswith("--")}
    hidden = {n for n, action in VERBS[verb]._option_string_actions.items() if action.help == "==SUPPRESS=="}
    assert {
        option for option in options - SHARED - hidden - {"--help"} if option not in SECTIONS[verb]
    } == set()


def test_options_that_verbs_share_are_explained_once():
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert [option for option in SHARED if f"`{option}" not in text] == []


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_whole_words_and_its_examples_are_commands(verb):
    assert VERBS[verb].description.endswith(".") and VERBS[verb].description[0].isupper()
    for action in VERBS[verb]._actions:
        assert action.help and (action.help == "==SUPPRESS==" or len(action.help.split()) > 2), action.dest
    for typed, what in getattr(importlib.import_module(f"gluon_confseg.cli.{verb}"), "EXAMPLES", ()):
        arguments = cli.parser().parse_args(typed.split())
        assert arguments.verb == verb and what


def test_the_examples_of_help_are_commands():
    for typed, what in cli.EXAMPLES:
        assert cli.parser().parse_args(typed.split()).verb == typed.split()[0] and what


# ---- public names


def public() -> dict:
    """Module and name -> the thing itself, of all that the reference has."""
    found = {}
    for page in sorted((DOCS / "reference").glob("*.md")):
        module = None
        for kind, name in re.findall(
            r"^\.\. (currentmodule|auto\w+):: (\S+)$", page.read_text(), re.MULTILINE
        ):
            if kind == "currentmodule":
                module = name
                continue
            owner, _, last = name.rpartition(".")
            found[owner or module, last] = getattr(importlib.import_module(owner or module), last)
    return found


NAMES = public()
PROMISED = {
    "metrics": ["ConfusionMatrix"], "groups": ["discover", "ConfusingGroup", "PAPER"],
    "losses": ["confusion_weights", "ConfusionCELoss"], "network": ["build", "FusedNetwork", "load"],
    "weights": ["load"], "fusion": ["Fusion"], "datasets": ["open_dataset"],
}  # fmt: skip


def test_the_reference_has_what_is_promised_and_all_that_packages_export():
    for module, names in PROMISED.items():
        assert [name for name in names if (f"gluon_confseg.{module}", name) not in NAMES] == []
    for module in ("losses", "fusion", "datasets"):
        exported = importlib.import_module(f"gluon_confseg.{module}").__all__
        assert [name for name in exported if (f"gluon_confseg.{module}", name) not in NAMES] == []


@pytest.mark.parametrize("module, name", NAMES)
def test_every_public_name_has_a_docstring(module, name):
    thing = NAMES[module, name]
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return
    assert inspect.getdoc(thing) and thing.__doc__
    for member, value in vars(thing).items() if inspect.isclass(thing) else ():
        value = getattr(value, "__func__", value)  # of a class method
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            # what a class overrides may be explained where it is declared
            inherited = (vars(base).get(member) for base in thing.__mro__)
            assert any(inspect.getdoc(each) for each in inherited if each), f"{name}.{member}"


# ---- drawings


@pytest.mark.parametrize("name", drawings.DRAWINGS)
def test_the_committed_drawings_are_those_of_the_command(name):
    for ending, theme in drawings.THEMES.items():
        kept = (drawings.FOLDER / f"{name}{ending}.svg").read_bytes()
        assert kept == drawings.svg(drawings.DRAWINGS[name], theme), (
            "give python -m experiments.tools.drawings"
        )


def test_the_page_of_the_method_gives_the_numbers_of_its_drawings():
    text = " ".join((DOCS / "method.md").read_text(encoding="utf-8").split())
    probabilities, plain = drawings.pushes(drawings.losses.confusion_weights(drawings.matrix()), 0.0)
    _, improved = drawings.pushes(drawings.losses.confusion_weights(drawings.matrix()), drawings.PENALTY)
    building, wall, fence, sky = (
        drawings.CLASSES.index(name) for name in ("building", "wall", "fence", "sky")
    )
    shown = [f"{100 * probabilities[k]:.0f} %" for k in (building, wall, fence, sky)]
    assert (
        f"a building with {shown[0]}, a wall with {shown[1]}, and a fence or the sky with {shown[2]} each"
        in text
    )
    assert shown[2] == shown[3] and plain[fence] == pytest.approx(plain[sky]) and plain[fence] < 0
    assert improved[building] < plain[building] < 0 < plain[wall] < improved[wall]
    assert improved[fence] < 0 and abs(improved[sky]) < 0.2 * abs(plain[sky])
    subnet0, subnet, _, fused = drawings.fused_pixel()
    car, truck = drawings.CLASSES.index("car"), drawings.CLASSES.index("truck")
    said = f"Subnet 0 says car with {100 * subnet0[car]:.0f} %, truck with {100 * subnet0[truck]:.0f} %."
    assert said in text and f"says truck with {100 * subnet[2]:.0f} %" in text
    assert f"says truck with {100 * fused[truck]:.0f} %." in text and fused.argmax() == truck
