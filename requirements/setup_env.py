"""Make the virtual environment of this project: pinned packages, and the MXNet wheel that fits the machine.

Run by bootstrap.sh with a Python from 3.8 to 3.11; standard library only. `--check` says by its exit status
whether the environment is ready, and is quick. An environment whose set-up was interrupted is made anew; one
that only lacks a group of packages (test, tensorboard, notebook, docs, crf, onnx, serve, distributed, torch) gets it.
The groups of APART make an environment without MXNet and the package: what the benchmarks compare with.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STATE = "confseg-setup.json"  # in the environment: what is installed in it
LOG = "confseg-setup.log"
GROUPS = ("test", "tensorboard", "notebook", "docs", "crf", "onnx", "serve", "distributed", "torch", "bench")
OWN = ("package", "compiled")  # of this project
HOROVOD = "horovod==0.28.1"  # built here, against the MXNet that is installed
NO_FILES = (*OWN, "horovod")  # all else in an environment is a requirement file
APART = ("bench",)
APART_PYTHON = "3.11"  # their pins are for this one
NO_WHEEL = "none"  # stands for MXNet's wheel in an environment of these
FREE_NEEDED = {
    "cpu": 2.0,
    "cuda": 9.0,
    NO_WHEEL: 2.0,
}  # GB: while pip unpacks, a download and its contents are both there


class SetupError(Exception):
    """One sentence for the user."""


class Plan(NamedTuple):
    """What an environment should hold: the wheel with its reason, and the groups of packages."""

    wheel: str
    reason: str
    groups: tuple[str, ...]

    def files(self) -> tuple[str, ...]:
        """Requirement files by name, in the order of installation."""
        return tuple(name for name in needed(self.wheel, self.groups) if name not in NO_FILES)


def say(text: str) -> None:
    print(f"set-up: {text}", flush=True)


def is_apart(groups: tuple[str, ...]) -> bool:
    """Whether an environment of these groups has neither MXNet nor the package. SetupError for both kinds at once."""
    apart = [group for group in groups if group in APART]
    if apart and len(apart) < len(groups):
        raise SetupError(
            f"the group {apart[0]} needs an environment of its own: give it with {' '.join(APART)} alone."
        )
    return bool(apart)


def needed(wheel: str, groups: tuple[str, ...]) -> list[str]:
    """What an environment of these groups holds, in the order of installation; OWN is of this project."""
    if is_apart(groups):
        return list(groups)
    return ["base", wheel, *groups, *OWN, *(["horovod"] if "distributed" in groups else [])]


# --- which MXNet wheel


def hardware():
    """gluon_confseg/hardware.py, loaded alone: the package itself wants what is yet to be installed."""
    spec = importlib.util.spec_from_file_location("hardware", ROOT / "gluon_confseg" / "hardware.py")
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    sys.modules["hardware"] = module
    spec.loader.exec_module(module)
    return module


def choose_wheel(asked: str, machine) -> tuple[str, str]:
    """("cpu" or "cuda", why), by CONFSEG_MXNET or by what the NVIDIA driver says."""
    if asked not in ("", "cpu", "cuda"):
        raise SetupError(f"CONFSEG_MXNET={asked} is neither cpu nor cuda: set it to one, or unset it.")
    if asked:
        return asked, "CONFSEG_MXNET asks for it"
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # hides GPUs from one run, not from the machine
    answer = machine.gpus()
    if answer.usable:
        return "cuda", f"{answer.usable[0]}, for which MXNet 1.9.1 has code"
    if answer.found:
        return "cpu", f"{answer.found[0]}, for which MXNet 1.9.1 has no code"
    return "cpu", answer.problem


# --- the state of an environment


def read_state(venv: Path) -> dict:
    """What the last set-up wrote; {} where there is none, or where it can't be read."""
    try:
        state = json.loads((venv / STATE).read_text())
        return state if isinstance(state, dict) else {}
    except (OSError, ValueError):
        return {}


def write_state(venv: Path, state: dict) -> None:
    """Replace the state at once, so that a kill leaves the old one or the new one."""
    temporary = venv / (STATE + ".tmp")
    temporary.write_text(json.dumps(state, indent=1, sort_keys=True))
    with open(temporary) as file:
        os.fsync(file.fileno())
    os.replace(temporary, venv / STATE)


def digest(name: str) -> str:
    """Fingerprint of one requirement file, or of what stands for a name of NO_FILES."""
    if name == "horovod":
        return hashlib.sha256(HOROVOD.encode()).hexdigest()[:16]
    if name == "compiled":
        files = sorted((ROOT / "gluon_confseg" / "compiled").glob("*.*"))
    else:
        files = [ROOT / "setup.py" if name == "package" else HERE / f"{name}.txt"]
    # an earlier version had requirement files that are gone
    found = b"".join(file.read_bytes() for file in files if file.exists())
    return hashlib.sha256(found).hexdigest()[:16] if found else ""


def identity(venv: Path) -> dict:
    """What an environment was made for: its folder, the wheel asked for, the machine's driver and GPUs."""
    return {
        "folder": str(venv),
        "asked": os.environ.get("CONFSEG_MXNET", "").strip(),
        "machine": hardware().fingerprint(),
    }


def missing(state: dict, groups: tuple[str, ...]) -> list[str]:
    """Requirement files that are not installed, or have changed since."""
    installed = state.get("installed", {})
    names = needed(state.get("wheel", "cpu"), groups)
    wanted = [name for name in names if name not in ("compiled", "horovod") or has_compiler()]
    return [name for name in wanted if installed.get(name) != digest(name)]


def has_compiler() -> bool:
    """Whether the compiled operators can be built; a compiler that comes later makes set-up build them."""
    return bool(os.environ.get("CXX") or any(map(shutil.which, ("g++", "c++", "clang++"))))


def is_whole(venv: Path, state: dict) -> bool:
    """Whether the environment's set-up came to its end, and its interpreter and MXNet are still there."""
    python = state.get("python", "")
    library = venv / "lib" / f"python{python}" / "site-packages" / "mxnet" / "libmxnet.so"
    whole = state.get("wheel") == NO_WHEEL or library.exists()
    return state.get("state") == "ready" and (venv / "bin" / "python").exists() and whole


def is_ready(venv: Path, groups: tuple[str, ...]) -> bool:
    """Whether nothing is left to do."""
    state = read_state(venv)
    same = all(state.get(key) == value for key, value in identity(venv).items())
    if not same or not is_whole(venv, state) or missing(state, groups):
        return False
    return not os.environ.get("PYTHON") or os.environ["PYTHON"] == state.get("asked_python")


# --- making it


@contextmanager
def alone():
    """Two set-ups at once would spoil each other: the second waits for the first."""
    handle = os.open(str(HERE), os.O_RDONLY)
    os.set_inheritable(handle, True)  # pip may outlive a killed set-up, and holds the lock until its end
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is running here: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


def current_python() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def check_python() -> None:
    """SetupError where this Python is not the one that the pins of APART are for."""
    if current_python() != APART_PYTHON:
        raise SetupError(
            f"the packages of {' and '.join(APART)} are for Python {APART_PYTHON}, and this is {current_python()}: "
            f"install Python {APART_PYTHON}, or set PYTHON to it."
        )


def set_up(venv: Path, groups: tuple[str, ...]) -> None:
    """Bring the environment to what is asked for."""
    state = read_state(venv)
    if state.get("wheel") and is_apart(groups) != (state["wheel"] == NO_WHEEL):
        raise SetupError(f"{venv.name} is an environment of the other kind: give another one with --venv.")
    if is_apart(groups):
        check_python()
        wheel, reason = NO_WHEEL, ""
    else:
        wheel, reason = choose_wheel(os.environ.get("CONFSEG_MXNET", "").strip(), hardware())
    plan = Plan(wheel, reason, groups)
    keep = is_whole(venv, state) and state["folder"] == str(venv) and state["wheel"] == wheel
    same_python = state.get("python") == current_python() or not os.environ.get("PYTHON")
    if keep and same_python and not changed(state):
        return extend(venv, state, plan)
    remove(venv, state)
    create(venv, plan)


def changed(state: dict) -> list[str]:
    """Requirement files that have changed since: packages may have to go, not only come."""
    return [name for name, was in state["installed"].items() if name not in NO_FILES and was != digest(name)]


def remove(venv: Path, state: dict) -> None:
    """Take away an environment that this set-up made; leave any other alone."""
    if venv.is_symlink() or (venv.exists() and not state and any(venv.iterdir())):
        raise SetupError(f"{venv} was not made by this set-up: move it away, or run `make clean-venv`.")
    if venv.exists():
        say(f"making {venv.name} anew ({why_anew(venv, state)})")
        write_state(venv, {"state": "removing", "folder": str(venv)})
        for entry in sorted(venv.iterdir(), key=lambda path: path.name == STATE):  # the mark goes last
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def why_anew(venv: Path, state: dict) -> str:
    if not is_whole(venv, state):
        return "its set-up was interrupted, or parts of it are gone"
    if state.get("folder") != str(venv):
        return "it was made in another folder"
    if state.get("installed") and changed(state):
        return f"requirements/{changed(state)[0]}.txt has changed"
    return "another Python or another MXNet wheel is wanted"


def create(venv: Path, plan: Plan) -> None:
    """A new environment with everything in the plan."""
    check_space(venv, plan.wheel)
    venv.mkdir(parents=True, exist_ok=True)
    write_state(venv, {"state": "creating", "folder": str(venv)})
    say(f"{venv.name} with Python {sys.version.split()[0]} ({sys.executable})")
    if plan.wheel != NO_WHEEL:
        say(f"MXNet: the {'CUDA' if plan.wheel == 'cuda' else 'CPU'} wheel ({plan.reason})")
    command = [sys.executable, "-m", "venv", str(venv)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        (venv / LOG).write_text(done.stdout)
        raise SetupError(f"Python's venv module failed: see {venv / LOG}.")
    state = {"state": "ready", "python": current_python(), "wheel": plan.wheel, "installed": {}}
    extend(venv, state, plan)


def extend(venv: Path, state: dict, plan: Plan) -> None:
    """Install what is missing. Until it is all there, the state says so."""
    lacking = missing(state, plan.groups)
    write_state(venv, {**state, "state": "installing", "folder": str(venv)})
    requirements = [name for name in lacking if name not in NO_FILES]
    if requirements:
        install(venv, requirements, state["python"])
    if "package" in lacking:
        say("installing gluon_confseg itself, as it lies in this folder")
        pip(venv, ["--no-build-isolation", "--editable", str(ROOT)], expected=0)
    if "compiled" in lacking and not compile_operators(venv):
        lacking.remove("compiled")  # the next set-up tries again
    if "horovod" in lacking and not build_horovod(venv):
        lacking.remove("horovod")
    if "distributed" in plan.groups and not has_compiler():
        say(
            f"there is no C++ compiler, which Horovod is built with (apt-get install g++ make): {WITHOUT_HOROVOD}"
        )
    state["installed"].update({name: digest(name) for name in lacking})
    asked_python = os.environ.get("PYTHON") or state.get("asked_python", "")
    write_state(venv, {**state, **identity(venv), "state": "ready", "asked_python": asked_python})


def compile_operators(venv: Path) -> bool:
    """Build the compiled operators; False where that fails. Everything works without them, only slower."""
    say("compiling the operators of gluon_confseg/compiled for this machine")
    command = [str(venv / "bin" / "python"), "-m", "gluon_confseg.compiled"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=str(ROOT))
    if done.returncode != 0:
        say((done.stdout.strip().splitlines() or ["they could not be built"])[-1])
    return done.returncode == 0


WITHOUT_HOROVOD = "trainings on several machines can use --kvstore dist_sync, which needs nothing more"


def build_horovod(venv: Path) -> bool:
    """Build Horovod with Gloo for the installed MXNet; False where that fails. dist_sync works without it."""
    say(f"building {HOROVOD} against MXNet: some minutes")
    settings = {"WITH_MXNET": "1", "WITH_GLOO": "1", "WITHOUT_MPI": "1"}
    settings.update(WITHOUT_TENSORFLOW="1", WITHOUT_PYTORCH="1")
    environment = {f"HOROVOD_{name}": value for name, value in settings.items()}
    # the CMake of distributed.txt, before the system's
    environment["PATH"] = os.pathsep.join([str(venv / "bin"), os.environ.get("PATH", "")])
    try:
        arguments = ["--no-build-isolation", "--no-cache-dir", "--no-binary", "horovod", HOROVOD]
        pip(venv, arguments, expected=0, settings=environment)
    except SetupError as error:
        say(f"Horovod could not be built: {str(error).rstrip('.')}; it needs g++ and make. {WITHOUT_HOROVOD}")
        return False
    return True


def check_space(venv: Path, wheel: str) -> None:
    free = shutil.disk_usage(venv.parent).free / 1e9
    if free < FREE_NEEDED[wheel]:
        needed = f"{FREE_NEEDED[wheel]:.0f} GB"
        raise SetupError(f"{venv.parent} has {free:.1f} GB free, and set-up needs {needed}: make room there.")


def install(venv: Path, names: list[str], python: str) -> None:
    """Install the packages of requirement files, exactly as listed."""
    files = [HERE / f"{name}.txt" for name in names]
    count = sum(applies(line, python) for file in files for line in file.read_text().splitlines())
    size = (
        ", 3 GB"
        if "cuda" in names
        else ", 2 GB"
        if "torch" in names
        else ", 0.7 GB"
        if "bench" in names
        else ""
    )
    say(f"installing {count} packages{size} ({', '.join(f'requirements/{file.name}' for file in files)})")
    arguments = [word for file in files for word in ("--requirement", str(file))]
    pip(venv, ["--no-compile", "--only-binary", ":all:", *arguments], expected=count)


def applies(line: str, python: str) -> bool:
    """Whether a line of a requirement file names a package for this Python ("3.8"); markers have one form."""
    requirement, _, marker = line.partition(";")
    if not requirement.strip() or requirement.startswith(("#", "-")):
        return False
    bound = re.search(r"python_version < '3\.(\d+)'", marker)
    return bound is None or int(python.split(".")[1]) < int(bound.group(1))


def pip(venv: Path, arguments: list[str], expected: int, settings: dict | None = None) -> None:
    """Run pip in the environment; its words go to a log, ours say how far it is.

    settings    more environment variables, for a package that is built
    """
    command = [str(venv / "bin" / "python"), "-I", "-m", "pip", "install", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--no-warn-script-location", "--progress-bar=off", *arguments]
    environment = {k: v for k, v in os.environ.items() if k not in ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")}
    environment.update(PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", **(settings or {}))
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    log = venv / LOG
    with open(log, "a") as file:
        process = subprocess.Popen(command, env=environment, close_fds=False, **streams)
        complaint = follow(process.stdout, file, expected)
        status = process.wait()
    if status != 0:
        raise SetupError(f"pip failed ({complaint or f'exit status {status}'}): see {log}.")


def follow(lines, log, expected: int) -> str:
    """Copy pip's words to the log and count the packages aloud; returns its first complaint."""
    collected, complaint, last = 0, "", time.monotonic()
    for line in lines:
        log.write(line)
        if line.startswith("ERROR:") and not complaint:
            complaint = " ".join(line[len("ERROR:") :].split())
        if line.startswith("Collecting "):
            collected += 1
        if line.startswith(("Collecting ", "Installing ")) and expected and time.monotonic() - last > 3:
            last = time.monotonic()
            what = line.split()[1] if line.startswith("Collecting") else "all fetched, unpacking"
            say(f"  {collected} of {expected}: {what}")
    if "(from versions: none)" in complaint:
        complaint += "; can the package index be reached from here?"
    return re.sub(r" \(from versions: .*?\)", "", complaint).rstrip(".")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", default=".venv")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(GROUPS)}")
    options = parser.parse_args()
    unknown = [group for group in options.groups if group not in GROUPS]
    if unknown:
        parser.error(f"no such group: {unknown[0]} (there are {', '.join(GROUPS)})")
    venv, groups = ROOT / options.venv, tuple(options.groups)
    if options.check:
        return 0 if is_ready(venv, groups) else 1
    try:
        with alone():
            if not is_ready(venv, groups):  # another set-up may have finished while this one waited
                start = time.monotonic()
                set_up(venv, groups)
                say(f"{venv.name} is ready ({time.monotonic() - start:.0f} s)")
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"set-up: {error.filename or venv}: {error.strerror or error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; the next make starts it again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
