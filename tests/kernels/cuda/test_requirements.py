"""What the kernels need of a machine, on machines that are not there."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

DRIVER = """
int cuDriverGetVersion(int* version) { *version = 12040; return 0; }
"""
# Of three devices the second may not be looked at.
MANAGEMENT = """
static int running;
int nvmlInit_v2(void) { running = 1; return 0; }
int nvmlShutdown(void) { running = 0; return 0; }
int nvmlDeviceGetCount_v2(unsigned* count) { *count = running ? 3 : 0; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void** device) {
  static int devices[3] = {75, 0, 90};
  *device = devices + i;
  return i == 1 ? 4 : 0;
}
int nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor) {
  *major = *(int*)device / 10;
  *minor = *(int*)device % 10;
  return 0;
}
"""


@pytest.fixture
def compile_library(tmp_path):
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("stand-ins for the driver's libraries are compiled, and there is no C compiler")

    def compile_(name, source):
        (tmp_path / f"{name}.c").write_text(source, encoding="utf-8")
        path = tmp_path / f"lib{name}.so"
        command = [compiler, "-shared", "-fPIC", "-o", path, tmp_path / f"{name}.c"]
        subprocess.run(command, check=True)
        return str(path)

    return compile_


def test_driver_and_gpus_are_read(cuda, compile_library):
    driver = compile_library("driver", DRIVER)
    management = compile_library("management", MANAGEMENT)
    assert cuda.read_machine(driver, management) == (12040, [75, 90])


def test_what_a_library_would_tell_is_left_out(cuda, compile_library):
    driver = compile_library("driver", DRIVER)
    assert cuda.read_machine(driver, "libnone.so.1") == (12040, [])
    assert cuda.read_machine("libnone.so.1", "libnone.so.1") == (0, [])
    failing = compile_library("failing", DRIVER.replace("return 0", "return 3"))
    without = compile_library("without", MANAGEMENT.replace("nvmlShutdown", "other"))
    assert cuda.read_machine(failing, without) == (0, [])
    closed = MANAGEMENT.replace("running = 1; return 0", "return 9")
    assert cuda.read_machine(driver, compile_library("closed", closed)) == (12040, [])


@pytest.mark.parametrize(
    ("driver", "archs", "runtime"),
    [
        (0, [], 13000),
        (12040, [90], 12090),  # a runtime works with each driver of its major release
        (13000, [75, 80], 13000),
        (13010, [120], 12080),
        (13000, [], 13000),  # nothing is known of the GPUs
    ],
)
def test_machines_that_can_run_the_kernels(cuda, driver, archs, runtime):
    assert cuda.why_not(driver, archs, runtime) == ""


REMEDY = "create the variables that it uses under tf.device('CPU:0'), where its ops then run"


def test_an_old_driver(cuda):
    assert cuda.why_not(12040, [90], 13020) == (
        "fastw2v's GPU kernels were built with CUDA 13.2 and need a driver for CUDA 13.0 or later, "
        "and the driver is for CUDA 12.4: update the driver, or build fastw2v with nvcc of "
        f"CUDA 12, or {REMEDY}"
    )


def test_old_gpus(cuda):
    assert cuda.why_not(12040, [70, 75], 12080) == (
        "fastw2v's GPU kernels need compute capability 8.0 or later, and the GPU has 7.5: " + REMEDY
    )


def test_no_kernel_starts_on_an_old_gpu(cuda, device, monkeypatch):
    if not device.emulated:
        pytest.skip("the GPU is what it is")
    monkeypatch.setenv("FASTW2V_EMULATED_ARCH", "75")
    with pytest.raises(RuntimeError, match="need compute capability 8.0 or later, and the GPU has"):
        cuda.zero(device.empty(4, "uint8"))
