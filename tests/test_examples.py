"""Every example of the documentation is right: its words are those of the command line, and it runs."""

from __future__ import annotations

import importlib.util
import re

import examples
import pytest

from experiments import PROJECT
from gluon_confseg import cli, recipe_files
from gluon_confseg.cli import train

TARGETS = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
SHELL = [
    (page, example) for page in examples.PAGES for example in examples.of_page(page) if example.kind == "sh"
]
# programs that start the command which stands in their arguments
STARTERS = ("exec", "export", "horovodrun", "srun")
# pages that need no run of a recipe, and little time
QUICK = ("docs/howto/own-encoder.md",)


def check_command(words: list) -> None:
    """Fail for a command that can't be what is meant: an unknown verb, option, recipe, setting, module or target."""
    if words[0] in STARTERS:
        starts = words.index("confseg") if "confseg" in words else len(words)
        words = words[starts:] or ["."]
    if words[-2:-1] == [">"]:  # the shell's
        words = words[:-2]
    if words[:2] == ["confseg", "launch"]:
        check_command(words[words.index("--") + 1 :])
        words = words[: words.index("--")]
    if words[0] == "confseg":
        arguments = cli.parser().parse_args(words[1:])
        if arguments.verb == "train" and arguments.recipe and not arguments.recipe.endswith(".py"):
            arguments.weights = None  # a file
            recipe = train.with_settings(
                recipe_files.find(arguments.recipe).profile(arguments.profile), arguments
            )
            recipe.choose(arguments.cell)
    elif words[0] == "make":
        assert [word for word in words[1:] if "=" not in word and word not in TARGETS] == []
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2])
    elif words[0] == "python":
        assert (PROJECT / words[1]).is_file()
    else:
        assert words[0] in (".", "pip", "bash", "git", "cd") or re.fullmatch(r"\w+=\S+", words[0]), words


@pytest.mark.parametrize("page, example", SHELL, ids=[f"{page}-{n}" for n, (page, _) in enumerate(SHELL)])
def test_every_command_of_an_example_is_one(page, example):
    for words in example.lines():
        check_command([word.replace("$RUN", "RUN") for word in words])


@pytest.mark.parametrize(
    "line",
    ["confseg fly", "confseg train drawn --fast", "confseg train drown", "confseg train drawn --set penalti=2",
     "make coffee", "python -m experiments.gone", "python symbols/gone.py", "rm -r runs"],
)  # fmt: skip
def test_a_command_that_is_none_is_noticed(line):
    with pytest.raises((AssertionError, SystemExit, ImportError, train.RunError)):
        check_command(line.split())


def test_commands_that_prose_names_are_verbs_with_their_options():
    verbs = cli.parser()._verbs.choices
    for page in examples.PAGES:
        text = re.sub(
            r"^```.*?^```$", "", (PROJECT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
        )
        for command in re.findall(r"`(confseg [^`]*)`", text):
            words = command.split(" -- confseg ")[0].split()
            if words[1].startswith("--") or words[1] == "VERB":
                continue
            assert words[1] in verbs, f"{page}: {command}"
            options = [word.split("=")[0] for word in words if re.match(r"--[a-z]", word)]
            unknown = [option for option in options if option not in verbs[words[1]]._option_string_actions]
            assert unknown == [], f"{page}: {command}"


def test_python_examples_compile():
    for page in examples.PAGES:
        for example in examples.of_page(page):
            if example.kind == "python":
                compile(example.text, page, "exec")


def test_commands_become_small():
    assert examples.small("confseg train drawn") == "confseg train drawn --profile smoke"
    assert (
        examples.small("confseg train own --root A   # b")
        == "confseg train own --root A --profile smoke   # b"
    )
    for command in ("confseg train drawn --show", "confseg train my_recipe.py --root MYDATA"):
        assert examples.small(command) == command
    assert examples.small("confseg study --profile quick") == "confseg study --profile smoke"
    assert examples.small("confseg report runs/drawn-quick-seed0") == "confseg report runs/drawn-smoke-seed0"


# ---- running them


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A place where the recipe drawn was trained."""
    place = examples.Place(tmp_path_factory.mktemp("trained") / "place")
    place.run(examples.Example("sh", "confseg train drawn\n", ""))
    return place.folder


def run_page(page: str, place: examples.Place, monkeypatch) -> None:
    monkeypatch.chdir(place.folder)
    for example in examples.of_page(page):
        if example.runs:
            place.run(example)


@pytest.mark.parametrize("page", QUICK)
def test_the_examples_of_a_quick_page_run(page, tmp_path, monkeypatch):
    run_page(page, examples.Place(tmp_path / "place"), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in examples.PAGES if page not in QUICK and any(e.runs for e in examples.of_page(page))],
)
def test_the_examples_of_a_page_run(page, trained, tmp_path, monkeypatch):
    place = examples.Place(tmp_path / "place")
    place.put_data()
    place.put_run(trained)
    run_page(page, place, monkeypatch)


def test_a_failing_example_is_noticed(tmp_path):
    place = examples.Place(tmp_path / "place")
    for kind, text in (
        ("sh", "false\ntrue\n"),
        ("sh", "gone\n"),
        ("python", "assert False\n"),
    ):
        with pytest.raises(AssertionError):
            place.run(examples.Example(kind, text, ""))
