"""The CUDA source on a CPU: compiled by the C++ compiler of the machine, and run thread by thread."""

import ctypes
import hashlib
import re
import subprocess
import tempfile
from pathlib import Path

_EMULATION = """
#include <cmath>
#include <setjmp.h>
#include <ucontext.h>
#define __global__
#define __device__ static
#define __shared__ static
using std::sqrt;
struct Position { int x; };
static Position blockIdx, threadIdx, gridDim;
static void __syncthreads();
%s
static ucontext_t starts[THREADS];
static jmp_buf scheduler, stops[THREADS];
static bool is_ready, started[THREADS], done[THREADS];
static char stacks[THREADS][1 << 15];
static void (*body)(void**);
static void** values;
static int n_done;
static void __syncthreads() {
    if (_setjmp(stops[threadIdx.x]) == 0) _longjmp(scheduler, 1);
}
static void thread() {
    body(values);
    done[threadIdx.x] = true;
    _longjmp(scheduler, 1);
}

// Every thread of a block runs to its next barrier, the first of them first, until all are done; no barrier may be
// missed by some of them. What lies between two barriers must not depend on the order of the threads.
static int run(void (*kernel)(void**), void** arguments, int blocks, bool has_barriers) {
    body = kernel; values = arguments; gridDim.x = blocks;
    for (int t = 0; t < THREADS && !is_ready; t++) {
        getcontext(&starts[t]);
        starts[t].uc_stack.ss_sp = stacks[t]; starts[t].uc_stack.ss_size = sizeof stacks[t];
        makecontext(&starts[t], thread, 0);
    }
    is_ready = true;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) {
        if (!has_barriers) {
            for (int t = 0; t < THREADS; t++) { threadIdx.x = t; kernel(arguments); }
            continue;
        }
        for (int t = 0; t < THREADS; t++) started[t] = done[t] = false;
        for (n_done = 0; n_done < THREADS;) {
            n_done = 0;
            for (threadIdx.x = 0; threadIdx.x < THREADS; threadIdx.x++) {
                if (!done[threadIdx.x] && _setjmp(scheduler) == 0) {
                    if (started[threadIdx.x]) _longjmp(stops[threadIdx.x], 1);
                    started[threadIdx.x] = true;
                    setcontext(&starts[threadIdx.x]);
                }
                n_done += done[threadIdx.x];
            }
            if (n_done != 0 && n_done != THREADS) return 1;
        }
    }
    return 0;
}
%s
"""
_KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)\s*\{(.*?)\n\}', re.DOTALL)
# Some systems define _FORTIFY_SOURCE, and its checks of longjmp refuse to change from one stack to another.
_FLAGS = ["-std=c++17", "-O2", "-U_FORTIFY_SOURCE", "-ffp-contract=off", "-shared", "-fPIC"]
_WARNINGS = ["-Wall", "-Wno-unused-function", "-Werror"]


def kernels_of(code):
    """Name -> (parameters, body) of each kernel; a parameter is (is a pointer, type, is constant)."""
    T = re.search(r"typedef (\w+) T;", code)[1]

    def parameters(text):
        for parameter in text.split(","):
            kind = " ".join(parameter.replace("*", " ").split()[:-1])
            constant, kind = kind.startswith("const "), kind.removeprefix("const ")
            yield "*" in parameter, {"T": T}.get(kind, kind), constant

    return {name: (list(parameters(text)), body) for name, text, body in _KERNEL.findall(code)}


def compiled(code, kernels):
    """The library with a function run_<name> for each kernel. It is kept in the folder of temporary files."""
    calls = []
    for name, (parameters, body) in kernels.items():
        arguments = ", ".join(
            f"*({'const ' * constant}{kind}{'*' * pointer}*)a[{i}]"
            for i, (pointer, kind, constant) in enumerate(parameters)
        )
        barriers = "true" if "reduce_block(" in body or "__syncthreads" in body else "false"
        calls.append(f"static void call_{name}(void** a) {{ {name}({arguments}); }}")
        calls.append(f'extern "C" int run_{name}(void** a, int n) {{ return run(call_{name}, a, n, {barriers}); }}')
    text = _EMULATION % (code, "\n".join(calls))
    identity = hashlib.sha256(" ".join([*_FLAGS, text]).encode()).hexdigest()[:24]
    path = Path(tempfile.gettempdir()) / f"skrelu-{identity}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            source, made = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
            source.write_text(text)
            command = ["g++", *_FLAGS, *_WARNINGS, "-o", str(made), str(source)]
            process = subprocess.run(command, capture_output=True, text=True)
            assert process.returncode == 0, process.stderr
            made.rename(path)
    return ctypes.CDLL(str(path))
