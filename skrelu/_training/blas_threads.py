"""BLAS threads: products that are too small to share stay on one thread.

On a busy machine a product that two threads share waits for the slower one: 3 to 30 million operations, 0.1 to 1 ms of
work, then took 12 to 34 ms (2 cores, OpenBLAS 0.3.31). On a quiet machine a second thread gained a factor of up to 1.7.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from threadpoolctl import ThreadpoolController

_SMALL_PRODUCT = 2**24  # floating-point operations; runs whose largest product is smaller use one thread
_LONG_RUN = 2**30  # operations; shorter runs are not worth the 25 ms of finding the BLAS libraries

_lock = threading.Lock()
_users = 0
_limit: Any = None

if hasattr(os, "register_at_fork"):  # otherwise a process forked while a thread holds the lock could never take it
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def blas_threads(largest_product: float, total: float) -> AbstractContextManager[None]:
    """Context in which BLAS uses one thread if no product of a long run is worth sharing; sizes are in operations."""
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
