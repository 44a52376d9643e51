"""Laws of what happens before MXNet is imported, and of what this machine is said to have."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gluon_confseg import doctor, hardware, runtime
from gluon_confseg.errors import ConfSegError

ROOT = Path(__file__).resolve().parent.parent


def child(code: str, **environment) -> str:
    """What a fresh interpreter prints; a value of None takes a variable away."""
    merged = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    kept = {key: value for key, value in merged.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout.strip()


# --- threads


def test_the_package_asks_for_one_thread_per_physical_core():
    seen = child("import os, gluon_confseg; print(os.environ['OMP_NUM_THREADS'])", OMP_NUM_THREADS=None)
    assert seen == str(hardware.physical_cores())


def test_an_empty_thread_count_is_no_wish_of_the_user():
    seen = child("import os, gluon_confseg; print(os.environ['OMP_NUM_THREADS'])", OMP_NUM_THREADS="")
    assert seen == str(hardware.physical_cores())


def test_mxnet_has_one_piece_of_temporary_memory_unless_the_user_wants_more():
    code = "import os, gluon_confseg; print(os.environ['MXNET_CPU_TEMP_COPY'])"
    assert child(code, MXNET_CPU_TEMP_COPY=None) == "1"
    assert child(code, MXNET_CPU_TEMP_COPY="800") == "800"


def test_the_user_s_thread_count_stays():
    code = "import os, gluon_confseg; print(os.environ['OMP_NUM_THREADS'], gluon_confseg.runtime.threads())"
    assert child(code, OMP_NUM_THREADS="7") == "7 7"


def test_mxnet_runs_with_a_thread_count_for_each_level_of_nesting():
    code = (
        "import os, gluon_confseg, mxnet as mx; from gluon_confseg import losses; "
        "loss = losses.CrossEntropyLoss(2)(mx.nd.zeros((1, 2, 3)), mx.nd.zeros((1, 3))); "
        "print(os.environ['OMP_NUM_THREADS'], round(loss.asscalar(), 4))"
    )
    assert child(code, OMP_NUM_THREADS="2,1") == "2 0.6931"


@pytest.mark.parametrize("value", ["many", "0", "-2", "2.5", ",3"])
def test_a_thread_count_that_is_none_is_no_wish_of_the_user(value):
    seen = child("import os, gluon_confseg; print(os.environ['OMP_NUM_THREADS'])", OMP_NUM_THREADS=value)
    assert seen == str(hardware.physical_cores())


def test_places_are_never_set():
    code = "import os, gluon_confseg; print('OMP_PLACES' in os.environ)"
    assert child(code, OMP_PLACES=None, OMP_NUM_THREADS=None) == "False"


def test_importing_mxnet_first_warns_and_still_works():
    code = "import mxnet, gluon_confseg; print(gluon_confseg.runtime.devices())"
    seen = child(code, OMP_NUM_THREADS=None)
    assert "import gluon_confseg first" in seen
    assert seen.splitlines()[-1].startswith("[")


def test_importing_the_package_imports_no_mxnet():
    assert child("import sys, gluon_confseg; print('mxnet' in sys.modules)") == "False"


# --- physical cores


def test_cores_outside_the_affinity_do_not_count():
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from gluon_confseg import hardware; print(hardware.physical_cores())"
    )
    assert child(code) == "1"


def test_without_lscpu_there_is_a_count_and_not_a_word():
    code = "from gluon_confseg import hardware; print(hardware.physical_cores())"
    assert 1 <= int(child(code, PATH="/nowhere")) <= os.cpu_count()


def test_the_file_needs_nothing_installed_before_cores_are_asked_for():
    code = "import runpy, sys; runpy.run_path(%r); print('loky' in sys.modules)"
    assert child(code % str(ROOT / "gluon_confseg" / "hardware.py")) == "False"


# --- GPUs


@pytest.mark.parametrize("capability", [(5, 0), (5, 2), (6, 1), (7, 0), (7, 5), (8, 0), (8, 6), (8, 9)])
def test_code_runs_on_later_minors_of_its_major(capability):
    assert hardware.has_code(capability)


@pytest.mark.parametrize("capability", [(3, 5), (3, 7), (9, 0), (10, 0), (12, 0)])
def test_code_runs_on_no_other_major(capability):
    assert not hardware.has_code(capability)


class Driver:
    """A stand-in for libcuda.so.1 with one device."""

    def __init__(self, capability, init=0, count=1):
        self.capability, self.init, self.count = capability, init, count

    def cuInit(self, flags):
        return self.init

    def cuDeviceGetCount(self, count):
        count._obj.value = self.count
        return 0

    def cuDeviceGet(self, handle, index):
        return 0

    def cuDeviceGetName(self, name, size, handle):
        name.value = b"Test GPU"
        return 0

    def cuDeviceGetAttribute(self, value, attribute, handle):
        value._obj.value = self.capability[{75: 0, 76: 1}[attribute]]
        return 0


def test_a_device_is_described_by_name_and_capability(monkeypatch):
    monkeypatch.setattr(hardware.ctypes, "CDLL", lambda name: Driver((9, 0)))
    answer = hardware.gpus()
    assert [str(gpu) for gpu in answer.found] == ["GPU 0, Test GPU, compute capability 9.0"]
    assert answer.usable == []
    assert answer.problem is None


@pytest.mark.parametrize("driver", [Driver((8, 0), init=100), Driver((8, 0), count=0)])
def test_a_driver_without_devices_is_a_sentence_and_no_error(monkeypatch, driver):
    monkeypatch.setattr(hardware.ctypes, "CDLL", lambda name: driver)
    assert hardware.gpus().found == []
    assert "finds no GPU" in hardware.gpus().problem


def test_a_missing_driver_is_a_sentence_and_no_error(monkeypatch):
    def refuse(name):
        raise OSError(name)

    monkeypatch.setattr(hardware.ctypes, "CDLL", refuse)
    assert hardware.gpus() == hardware.Gpus([], "there is no NVIDIA driver (libcuda.so.1)")


def test_a_cuda_wheel_without_a_usable_gpu_computes_on_the_cpu_and_says_so(monkeypatch):
    runtime.devices()  # MXNet's import would warn inside pytest.warns
    gpu = hardware.Gpu(0, "Test GPU", (9, 0))
    monkeypatch.setattr(runtime, "wheel", lambda: "cuda")
    monkeypatch.setattr(hardware, "gpus", lambda: hardware.Gpus([gpu], None))
    with pytest.warns(RuntimeWarning, match="no code for GPU 0, Test GPU.*computing on the CPU"):
        assert [device.device_type for device in runtime.devices()] == ["cpu"]


def test_only_usable_gpus_are_devices(monkeypatch):
    found = [hardware.Gpu(0, "new", (9, 0)), hardware.Gpu(1, "old", (8, 6))]
    monkeypatch.setattr(runtime, "wheel", lambda: "cuda")
    monkeypatch.setattr(hardware, "gpus", lambda: hardware.Gpus(found, None))
    assert [(device.device_type, device.device_id) for device in runtime.devices()] == [("gpu", 1)]


# --- a broken environment


@pytest.fixture
def no_finder():
    """Takes away what a test's `prepare` put in the way of imports."""
    before = list(sys.meta_path)
    yield
    sys.meta_path[:] = before


def prepared(monkeypatch, versions: dict[str, str]) -> str | None:
    """`prepare` where these packages are installed, as if MXNet were not imported yet."""
    monkeypatch.delitem(sys.modules, "mxnet", raising=False)
    monkeypatch.setattr(
        runtime, "version_of", lambda *names: next(filter(None, map(versions.get, names)), None)
    )
    return runtime.prepare()


@pytest.fixture
def own(monkeypatch):
    """As if this interpreter were of the environment that a checkout's Makefile made."""
    monkeypatch.setattr(runtime, "in_its_environment", lambda: True)


@pytest.mark.parametrize(
    "versions, words",
    [
        ({"numpy": "1.23.5"}, "MXNet is not installed"),
        ({"mxnet": "1.9.1", "numpy": "1.24.0"}, "NumPy 1.24.0 is installed"),
        ({"mxnet": "1.9.1", "numpy": "2.0.1"}, "pip install numpy==1.23.5"),
    ],
)
def test_a_wrong_environment_is_one_sentence_with_a_remedy(monkeypatch, no_finder, own, versions, words):
    sentence = prepared(monkeypatch, versions)
    assert words in sentence and runtime.remedy() in sentence
    with pytest.raises(ConfSegError, match="make clean-venv"):
        runtime.check()
    with pytest.raises(ImportError, match="make clean-venv"):
        __import__("mxnet")


def test_two_wheels_at_once_are_a_wrong_environment(monkeypatch, no_finder):
    sentence = prepared(monkeypatch, {"mxnet": "1.9.1", "mxnet-cu112": "1.9.1", "numpy": "1.23.5"})
    assert "Both MXNet wheels" in sentence and "pip uninstall --yes mxnet mxnet-cu112" in sentence


def test_the_remedy_is_for_the_place_that_the_package_lies_in(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "PROJECT", tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert runtime.remedy().startswith("`pip install .` in a checkout")
    assert "pip uninstall --yes mxnet`" in runtime.change_wheel("cuda")
    assert "pip install mxnet==1.9.1" in runtime.change_wheel("cpu")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "setup_env.py").touch()
    assert runtime.remedy().startswith("`make clean-venv`")
    assert runtime.change_wheel("cuda").startswith("with CONFSEG_MXNET=cuda set, `make clean-venv`")
    monkeypatch.setattr(sys, "prefix", "/usr")
    assert runtime.remedy().startswith("`make setup`") and ".venv/bin/python" in runtime.remedy()
    error = ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
    assert runtime.remedy(error).startswith("`pip install --force-reinstall --no-deps opencv-python-headless")


def test_the_doctor_s_advice_on_gpus_fits_the_machine(monkeypatch, own):
    monkeypatch.setattr(hardware, "gpus", lambda: hardware.Gpus([hardware.Gpu(0, "Test", (8, 0))], None))
    monkeypatch.setattr(runtime, "wheel", lambda: "cpu")
    assert "CONFSEG_MXNET=cuda" in doctor.gpus().note
    monkeypatch.setattr(hardware, "gpus", lambda: hardware.Gpus([], "there is no NVIDIA driver"))
    assert "profile full would take months here" in doctor.gpus().note
    assert "CONFSEG_MXNET" not in doctor.gpus().note
    monkeypatch.setattr(runtime, "wheel", lambda: "cuda")
    assert "CONFSEG_MXNET=cpu" in doctor.gpus().note


def test_a_cuda_wheel_without_a_driver_says_how_to_get_the_cpu_wheel(monkeypatch, no_finder, own):
    monkeypatch.setattr(runtime, "_load", lambda library: None if "libcuda" in library else object())
    sentence = prepared(monkeypatch, {"mxnet-cu112": "1.9.1", "numpy": "1.23.5"})
    assert "libcuda.so.1" in sentence and "CONFSEG_MXNET=cpu" in sentence


def test_a_missing_cuda_library_is_named_with_its_package(monkeypatch, no_finder):
    monkeypatch.setattr(runtime, "_load", lambda library: None if "libcudnn" in library else object())
    sentence = prepared(monkeypatch, {"mxnet-cu112": "1.9.1", "numpy": "1.23.5"})
    assert "libcudnn.so.8 of nvidia-cudnn-cu11" in sentence


def test_cuda_libraries_come_after_what_they_need():
    order = [library for _, _, library in runtime.CUDA_LIBRARIES]
    for library, needed in [
        ("libcublas.so.11", "libcublasLt.so.11"),
        ("libcusolver.so.11", "libcublas.so.11"),
        ("libcusolver.so.11", "libcusparse.so.11"),
        ("libcudnn.so.8", "libcublas.so.11"),
    ]:
        assert order.index(needed) < order.index(library)


def test_the_doctor_reports_a_broken_environment(monkeypatch):
    monkeypatch.setattr(runtime, "problem", lambda: "It is broken.")
    assert [finding.line() for finding in doctor.examine() if finding.problem] == ["problem: It is broken."]


# --- seeds and the doctor where all is well


def test_equal_seeds_give_equal_draws_of_all_three_generators():
    import mxnet as mx

    def draws(seed):
        runtime.seed(seed)
        return random.random(), np.random.rand(), float(mx.nd.random.uniform(shape=(1,)).asscalar())

    first, again, other = draws(5), draws(5), draws(6)
    assert first == again
    assert all(one != two for one, two in zip(first, other))


@pytest.mark.parametrize("seed", [-1, 2**31, 1.5, "1", True])
def test_a_seed_outside_its_range_is_refused(seed):
    with pytest.raises(ConfSegError, match="seed"):
        runtime.seed(seed)


def test_the_doctor_finds_this_environment_usable():
    findings = doctor.examine()
    assert [finding.line() for finding in findings if finding.problem] == []
    assert any("computes on" in finding.name for finding in findings)


def test_the_doctor_names_a_version_that_was_not_tested(monkeypatch):
    monkeypatch.setattr(runtime, "version_of", lambda *names: "1.22.0")
    assert "tested with 1.23.5" in doctor.version("NumPy").line()


def test_the_doctor_reports_a_missing_package_with_the_remedy(monkeypatch):
    monkeypatch.setattr(runtime, "version_of", lambda *names: None)
    assert doctor.version("GluonCV").line() == f"problem: GluonCV is not installed: {runtime.remedy()}."


def test_a_wrong_result_of_mxnet_is_a_problem(monkeypatch):
    def wrong(device):
        raise ArithmeticError("a convolution gave 3")

    monkeypatch.setattr(doctor, "convolve", wrong)
    assert [bool(finding.problem) for finding in doctor.computations()] == [True] * len(runtime.devices())
