"""BLAS threads: products too small to be shared are kept on one thread.

On a busy machine a product that two threads share waits for the slower of them: 3 to 30 million operations, 0.1 to
1 ms of work, then took 12 to 34 ms (2 cores, OpenBLAS 0.3.31); on a quiet one a second thread gained 1.7 at most.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from threadpoolctl import ThreadpoolController

_SMALL_PRODUCT = 2**24  # floating-point operations of the largest product that is kept on one thread
_LONG_RUN = 2**30  # operations of a run that is worth the 25 ms of finding the libraries, once in a process

_lock = threading.Lock()
_users = 0
_limit: Any = None

if hasattr(os, "register_at_fork"):  # or a process forked while another thread holds the lock could never take it
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def blas_threads(largest_product: float, total: float) -> Any:
    """Context in which BLAS uses one thread if no product of a long run is worth sharing; sizes in operations."""
    return _one_thread() if largest_product < _SMALL_PRODUCT and total > _LONG_RUN else nullcontext()


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def _one_thread() -> Iterator[None]:
    """The limit holds for the process, so overlapping users share it: the first sets it, the last takes it back."""
    global _users, _limit
    with _lock:
        if _users == 0:
            _limit = _controller().limit(limits=1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _limit.restore_original_limits()
