"""The old name of `array_cases.py`, until `examples/benchmarks/gpu_check.py` reads the new one."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
from array_cases import NAMES, SHAPES, SUMS, cases, run  # noqa: F401
