"""Laws of the set-up: which Python, which wheel, what is redone and when. Nothing is installed here."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import runpy
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools

from gluon_confseg import doctor, hardware

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"


@pytest.fixture
def env():
    """requirements/setup_env.py as a module."""
    spec = importlib.util.spec_from_file_location("setup_env", REQUIREMENTS / "setup_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ready(env, tmp_path, monkeypatch):
    """An environment that looks as a finished set-up leaves it."""
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.delenv("CONFSEG_MXNET", raising=False)
    library = tmp_path / "lib" / "python3.9" / "site-packages" / "mxnet"
    library.mkdir(parents=True)
    (library / "libmxnet.so").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    installed = {name: env.digest(name) for name in ("base", "cpu", *env.OWN)}
    state = {"state": "ready", "python": "3.9", "wheel": "cpu", "installed": installed, "asked_python": ""}
    env.write_state(tmp_path, {**state, **env.identity(tmp_path)})
    return tmp_path


def lines(name: str) -> list[str]:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


class Machine:
    """Stands in for the hardware module."""

    def __init__(self, found, problem=None):
        self.answer = hardware.Gpus(found, problem)

    def gpus(self):
        return self.answer


# --- the wheel


@pytest.mark.parametrize(
    "capability, wheel", [((8, 6), "cuda"), ((7, 5), "cuda"), ((9, 0), "cpu"), ((3, 7), "cpu")]
)
def test_the_wheel_follows_the_compute_capability_and_says_why(env, capability, wheel):
    chosen, reason = env.choose_wheel("", Machine([hardware.Gpu(0, "Some GPU", capability)]))
    assert chosen == wheel
    assert f"Some GPU, compute capability {capability[0]}.{capability[1]}" in reason


def test_one_usable_gpu_among_others_is_enough(env):
    found = [hardware.Gpu(0, "new", (9, 0)), hardware.Gpu(1, "old", (6, 1))]
    assert env.choose_wheel("", Machine(found))[0] == "cuda"


def test_without_a_driver_the_wheel_is_for_the_cpu(env):
    assert env.choose_wheel("", Machine([], "there is no driver")) == ("cpu", "there is no driver")


@pytest.mark.parametrize("asked", ["cpu", "cuda"])
def test_the_user_s_wheel_wins(env, asked):
    assert env.choose_wheel(asked, Machine([hardware.Gpu(0, "old", (6, 1))]))[0] == asked


def test_an_unknown_wheel_is_refused_by_name(env):
    with pytest.raises(env.SetupError, match="CONFSEG_MXNET=gpu"):
        env.choose_wheel("gpu", Machine([]))


# --- what is redone


def test_a_finished_set_up_is_ready(env, ready):
    assert env.is_ready(ready, ())


def test_a_group_that_was_not_installed_makes_it_unready(env, ready):
    assert not env.is_ready(ready, ("test",))


@pytest.mark.parametrize(
    "part", ["bin/python", "lib/python3.9/site-packages/mxnet/libmxnet.so", "confseg-setup.json"]
)
def test_a_missing_part_makes_it_unready(env, ready, part):
    (ready / part).unlink()
    assert not env.is_ready(ready, ())


@pytest.mark.parametrize("phase", ["creating", "installing", "removing"])
def test_an_interrupted_set_up_is_unready(env, ready, phase):
    env.write_state(ready, {**env.read_state(ready), "state": phase})
    assert not env.is_ready(ready, ())


@pytest.mark.parametrize("key", ["folder", "machine", "asked"])
def test_another_folder_machine_or_wish_makes_it_unready(env, ready, key):
    env.write_state(ready, {**env.read_state(ready), key: "another"})
    assert not env.is_ready(ready, ())


def test_a_changed_pin_makes_it_unready(env, ready):
    state = env.read_state(ready)
    state["installed"]["base"] = "0123456789abcdef"
    env.write_state(ready, state)
    assert not env.is_ready(ready, ())
    assert env.changed(state) == ["base"]
    of_an_earlier_version = {**state["installed"], "gone": "1234"}
    assert "gone" in env.changed({"installed": of_an_earlier_version})


def test_a_damaged_state_is_no_state(env, ready):
    (ready / env.STATE).write_text('{"state": "rea')
    assert env.read_state(ready) == {}
    assert not env.is_ready(ready, ())


def test_an_environment_of_the_user_s_own_is_left_alone(env, tmp_path):
    mine = tmp_path / ".venv"
    mine.mkdir()
    (mine / "mine.txt").write_text("keep me")
    with pytest.raises(env.SetupError, match="not made by this set-up"):
        env.remove(mine, env.read_state(mine))
    assert (mine / "mine.txt").read_text() == "keep me"


def test_removing_takes_everything(env, ready):
    env.remove(ready, env.read_state(ready))
    assert list(ready.iterdir()) == []


# --- an environment apart


@pytest.fixture
def apart(env, ready):
    """The benchmarks' environment as a finished set-up leaves it."""
    (ready / "lib" / "python3.9" / "site-packages" / "mxnet" / "libmxnet.so").unlink()
    installed = {name: env.digest(name) for name in env.APART}
    state = {
        "state": "ready",
        "python": "3.11",
        "wheel": env.NO_WHEEL,
        "installed": installed,
        "asked_python": "",
    }
    env.write_state(ready, {**state, **env.identity(ready)})
    return ready


def test_the_benchmarks_environment_is_ready_without_mxnet_and_the_package(env, apart):
    assert env.is_ready(apart, env.APART)
    assert env.needed(env.NO_WHEEL, env.APART) == ["bench"]
    assert not env.is_ready(apart, ())


def test_a_changed_pin_makes_the_benchmarks_environment_unready(env, apart):
    state = env.read_state(apart)
    state["installed"]["bench"] = "0123456789abcdef"
    env.write_state(apart, state)
    assert not env.is_ready(apart, env.APART)


def test_groups_of_both_kinds_in_one_environment_are_refused(env):
    with pytest.raises(env.SetupError, match="bench needs an environment of its own"):
        env.needed("cpu", ("test", "bench"))


@pytest.mark.parametrize("python, refused", [("3.11", False), ("3.9", True)])
def test_the_benchmarks_environment_is_for_one_python(env, tmp_path, monkeypatch, python, refused):
    made = []
    monkeypatch.setattr(env, "current_python", lambda: python)
    monkeypatch.setattr(env, "create", lambda venv, plan: made.append(plan.files()))
    if refused:
        with pytest.raises(env.SetupError, match="are for Python 3.11, and this is 3.9"):
            env.set_up(tmp_path / "new", env.APART)
    else:
        env.set_up(tmp_path / "new", env.APART)
    assert made == ([] if refused else [("bench",)])


# --- pip's words


def test_the_first_complaint_of_pip_is_the_one_that_is_shown(env, tmp_path):
    words = ["Collecting numpy\n", "ERROR: No  matching distribution for numpy.\n", "ERROR: later\n"]
    with open(tmp_path / "log", "w") as log:
        assert env.follow(words, log, expected=1) == "No matching distribution for numpy"
    assert (tmp_path / "log").read_text() == "".join(words)


def test_a_package_index_out_of_reach_is_guessed(env, tmp_path):
    words = [
        "ERROR: Could not find a version that satisfies the requirement numpy==1 (from versions: none)\n"
    ]
    with open(tmp_path / "log", "w") as log:
        said = env.follow(words, log, expected=1)
    assert said.endswith("requirement numpy==1; can the package index be reached from here?")


@pytest.mark.parametrize("python, applies", [("3.8", True), ("3.9", True), ("3.10", False), ("3.11", False)])
def test_markers_leave_out_packages_of_older_pythons(env, python, applies):
    assert env.applies("zipp==3; python_version < '3.10'", python) is applies
    assert env.applies("numpy==1.23.5", python)
    assert not env.applies("# numpy", python)


@pytest.mark.parametrize("asked, redone", [(None, False), ("python3.8", True)])
def test_an_environment_keeps_its_python_unless_another_is_asked_for(env, ready, monkeypatch, asked, redone):
    done = []
    monkeypatch.setattr(env, "current_python", lambda: "3.8")
    monkeypatch.setattr(env, "choose_wheel", lambda asked, machine: ("cpu", "a test"))
    monkeypatch.setattr(env, "extend", lambda *arguments: done.append("extended"))
    monkeypatch.setattr(env, "remove", lambda *arguments: done.append("removed"))
    monkeypatch.setattr(env, "create", lambda *arguments: done.append("created"))
    if asked:
        monkeypatch.setenv("PYTHON", asked)
    env.set_up(ready, ("test",))
    assert done == (["removed", "created"] if redone else ["extended"])


# --- which Python


def fake_python(folder: Path, name: str, verdict: str) -> None:
    """An interpreter that answers bootstrap.sh's question with `verdict`, and says so when it is then run."""
    script = folder / name
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *setup_env.py*) echo "ran {name}";; *) echo "{verdict}";; esac\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)


def bootstrap(tmp_path: Path, **environment) -> subprocess.CompletedProcess:
    """bootstrap.sh of a copy without any environment, with only the fake interpreters on the PATH."""
    target = tmp_path / "copy" / "requirements"
    target.mkdir(parents=True)
    (target / "bootstrap.sh").write_text((REQUIREMENTS / "bootstrap.sh").read_text())
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("dirname", "ls"):
        where = next(Path(p, tool) for p in os.environ["PATH"].split(":") if Path(p, tool).exists())
        (tools / tool).symlink_to(where)
    return subprocess.run(
        ["/bin/sh", str(target / "bootstrap.sh")],
        env={"PATH": f"{tmp_path / 'bin'}:{tools}", **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def interpreters(tmp_path):
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def test_the_newest_supported_python_is_taken(tmp_path, interpreters):
    fake_python(interpreters, "python3", "is Python 3.13")
    fake_python(interpreters, "python3.9", "ok")
    fake_python(interpreters, "python3.10", "ok")
    assert bootstrap(tmp_path).stdout.strip() == "ran python3.10"


def test_a_python_that_does_not_start_is_passed_over(tmp_path, interpreters):
    fake_python(interpreters, "python3.11", "")
    fake_python(interpreters, "python3", "ok")
    assert bootstrap(tmp_path).stdout.strip() == "ran python3"


def test_without_a_fitting_python_one_sentence_says_so(tmp_path, interpreters):
    fake_python(interpreters, "python3", "is Python 3.13")
    done = bootstrap(tmp_path)
    assert done.returncode != 0 and done.stdout == ""
    assert re.fullmatch(r"set-up: MXNet 1\.9\.1 needs Python 3\.8 to 3\.11, and none .*\.\n", done.stderr)


def test_a_python_without_venv_is_named_with_the_remedy(tmp_path, interpreters):
    fake_python(interpreters, "python3.11", "lacks the module ensurepip (apt-get install python3.11-venv)")
    done = bootstrap(tmp_path)
    assert done.returncode != 0
    assert "python3.11 lacks the module ensurepip" in done.stderr and done.stderr.count("\n") == 1


def test_the_user_s_python_wins(tmp_path, interpreters):
    fake_python(interpreters, "python3.11", "ok")
    fake_python(interpreters, "python3.8", "ok")
    assert bootstrap(tmp_path, PYTHON="python3.8").stdout.strip() == "ran python3.8"


def test_the_user_s_python_is_refused_rather_than_replaced(tmp_path, interpreters):
    fake_python(interpreters, "python3.11", "ok")
    fake_python(interpreters, "python3.12", "is Python 3.12")
    done = bootstrap(tmp_path, PYTHON="python3.12")
    assert done.returncode != 0 and "PYTHON=python3.12 is Python 3.12" in done.stderr


# --- the lists


@pytest.mark.parametrize(
    "name",
    ["base", "cpu", "cuda", "test", "tensorboard", "notebook", "docs", "onnx", "serve", "torch", "bench"],
)
def test_every_requirement_is_exact_and_listed_once(name):
    names = [line.split("==")[0] for line in lines(name)]
    assert all(
        re.match(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*(; python_version < '3\.\d+')?$", line)
        for line in lines(name)
    )
    assert names == sorted(set(names), key=names.index)


def test_one_version_of_a_package_in_all_lists_of_an_environment():
    seen: dict[str, set] = {}
    for name in ("base", "cpu", "test", "tensorboard", "notebook", "docs", "onnx", "serve", "torch"):
        for line in lines(name):
            package, _, version = line.partition(";")[0].partition("==")
            seen.setdefault(package, set()).add(version.strip())
    assert {package: found for package, found in seen.items() if len(found) > 1} == {}


def test_the_doctor_expects_what_is_installed():
    pinned = dict(line.partition(";")[0].split("==") for line in lines("base") + lines("cpu"))
    for name, version in doctor.PINS.items():
        package = next(package for package in doctor.PACKAGES[name] if package in pinned)
        assert pinned[package].startswith(version)


def test_both_wheels_are_of_one_mxnet():
    assert lines("cpu") == ["mxnet==1.9.1"]
    assert lines("cuda")[0] == "mxnet-cu112==1.9.1"


def declared(monkeypatch) -> dict:
    """What setup.py hands to setuptools."""
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **words: given.update(words))
    runpy.run_path(str(ROOT / "setup.py"))
    return given


def test_one_installation_never_holds_both_wheels(monkeypatch):
    """pip would let the files of one overwrite the other's."""
    given = declared(monkeypatch)
    assert "mxnet==1.9.1" in given["install_requires"]
    assert given["extras_require"]["cuda"] == lines("cuda")[1:]


def test_a_headless_opencv_is_installed_after_gluoncv_s_and_stays(monkeypatch):
    """pip installs equally deep requirements from Z to A."""
    opencv = [line for line in declared(monkeypatch)["install_requires"] if line.startswith("opencv")]
    assert {line.split("==")[1] for line in opencv} == {"4.11.0.86"}
    assert sorted(opencv, reverse=True)[-1].startswith("opencv-contrib-python-headless==")


def test_a_wheel_carries_the_recipes_and_the_demonstration(tmp_path):
    command = [sys.executable, "setup.py", "--quiet", "build", "--build-base", str(tmp_path)]
    subprocess.run(command, cwd=str(ROOT), check=True, capture_output=True)
    built = {file.name for file in tmp_path.glob("lib/gluon_confseg/recipes/*")}
    assert built == {file.name for file in (ROOT / "experiments").glob("[!_]*.py")}
    shipped = {file.name for file in tmp_path.glob("lib/gluon_confseg/demo/*")}
    there = (
        file for file in (ROOT / "gluon_confseg" / "demo").iterdir() if file.suffix in (".py", ".npz", ".md")
    )
    assert shipped == {file.name for file in there}


def test_the_state_is_readable_by_people(ready, env):
    assert json.loads((ready / env.STATE).read_text())["state"] == "ready"


# --- Horovod, which is built


def test_horovod_is_built_after_mxnet_and_only_where_there_is_a_compiler(env, monkeypatch):
    names = env.needed("cpu", ("distributed",))
    assert names.index("horovod") > names.index("cpu") and "horovod" not in env.needed("cpu", ())
    monkeypatch.setattr(env, "has_compiler", lambda: True)
    assert "horovod" in env.missing({}, ("distributed",))
    monkeypatch.setattr(env, "has_compiler", lambda: False)
    assert "horovod" not in env.missing({}, ("distributed",))


def test_a_horovod_that_can_t_be_built_leaves_dist_sync_and_says_so(env, monkeypatch, tmp_path, capsys):
    asked = {}

    def fail(venv, arguments, expected, settings):
        asked.update(settings)
        raise env.SetupError("pip failed (no make): see the log.")

    monkeypatch.setattr(env, "pip", fail)
    assert not env.build_horovod(tmp_path)
    assert "could not be built: pip failed (no make)" in capsys.readouterr().out
    assert asked["HOROVOD_WITH_MXNET"] == "1" and asked["PATH"].startswith(str(tmp_path / "bin"))


def test_set_up_and_package_name_the_same_horovod(env):
    assert f'"{env.HOROVOD}"' in (ROOT / "setup.py").read_text()
