"""tools/gpu: programs on memory of the driver, which here is memory of the process."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools" / "gpu"

# The driver's functions on memory of the process.
DRIVER = """
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
static __thread void* current;
static char context, streams;
int cuInit(unsigned flags) { return flags; }
int cuDeviceGet(int* device, int number) { *device = number; return 0; }
int cuDevicePrimaryCtxRetain(void** made, int device) { *made = &context; return device; }
int cuCtxSetCurrent(void* given) { current = given; return given == &context ? 0 : 201; }
int cuStreamCreate(void** stream, unsigned flags) { *stream = &streams; return flags == 1 ? 0 : 1; }
int cuStreamSynchronize(void* stream) { return stream == &streams ? 0 : 400; }
int cuMemAlloc_v2(uint64_t* memory, size_t bytes) {
  if (current == 0) return 201;
  *memory = (uint64_t)aligned_alloc(256, (bytes + 255) / 256 * 256);
  return 0;
}
int cuMemFree_v2(uint64_t memory) { free((void*)memory); return 0; }
int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t n) {
  memcpy((void*)to, from, n);
  return 0;
}
int cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t n) {
  memcpy((void*)to, (void*)from, n);
  return 0;
}
int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t n) { memcpy(to, (void*)from, n); return 0; }
int cuMemsetD8_v2(uint64_t to, unsigned char byte, size_t n) {
  memset((void*)to, byte, n);
  return 0;
}
"""


@pytest.fixture
def driver(device, tmp_path):
    """The file name of such a library, where there are emulated kernels to use it."""
    if not device.emulated:
        pytest.skip("memory of the device is that of the process in the emulated build alone")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("a stand-in for the driver is compiled, and there is no C compiler")
    (tmp_path / "driver.c").write_text(DRIVER, encoding="utf-8")
    library = tmp_path / "libdriver.so"
    command = [compiler, "-shared", "-fPIC", "-o", library, tmp_path / "driver.c"]
    subprocess.run(command, check=True)
    return str(library)


@pytest.fixture
def load(cuda, monkeypatch):
    """Imports a program, which takes the kernels that are loaded already."""

    def import_(name):
        monkeypatch.syspath_prepend(str(TOOLS))
        spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
        program = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(program)
        monkeypatch.setattr(program, "load_kernels", lambda: cuda)
        return program

    return import_


@pytest.mark.parametrize("arch", ["80", "90"])
def test_kernels_in_the_context_of_the_driver(load, driver, monkeypatch, capsys, arch):
    monkeypatch.setenv("FASTW2V_EMULATED_ARCH", arch)
    program = load("driver_context")
    monkeypatch.setattr(program, "BATCH", 20)
    monkeypatch.setattr(program, "CLASSES", 300)
    assert program.main(driver) == 0, capsys.readouterr().out
    printed = capsys.readouterr().out
    assert f"'arch': {arch}" in printed and printed.count("ok") == 3
    monkeypatch.setattr(program, "ALLOWED", {"float16": (5e-3, 1e-9)})
    assert program.main(driver) == 1
    assert "WRONG  float16" in capsys.readouterr().out


def test_promises(load, driver, monkeypatch, capsys):
    program = load("promises")
    assert program.main("--driver", driver, "--small") == 0, capsys.readouterr().out
    printed = capsys.readouterr().out
    assert printed.count("are the same") == 2 and printed.endswith("right\n")
    monkeypatch.setattr(program, "ALLOWED", 1e-9)
    device = sys.modules["device"]
    run, runs = device.ExactStep.run, []

    def other_bits(self, stream):
        run(self, stream)
        runs.append(self)
        if len(runs) == 2:
            self.d_hidden.poison()

    monkeypatch.setattr(device.ExactStep, "run", other_bits)
    assert program.main("--driver", driver, "--small") == 1
    printed = capsys.readouterr().out
    assert "DIFFER in d_hidden: " in printed and printed.endswith("WRONG\n")
