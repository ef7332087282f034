"""Array functions at the size of one GPU kernel, one class per array library.

Conventions, shared by every class (a test compares names and signatures):

- ``out``, and every argument a docstring calls "in place", is written by the function; it never overlaps an
  operand unless it is that operand.
- Matrices are 2-D and C-contiguous, ``X`` may be any view with rows along axis 0. What a docstring calls a scalar is
  a float or, on a device, an array of one number that the host need not wait for; other numbers are Python floats.
- Nothing here knows what a network is: the mathematics is in ``_network.py`` and ``_optimizers.py``.

`GenericArrayModule` needs only the Array API standard and is the executable reference; `NumpyArrayModule` does the same
in place, without allocating; `CupyArrayModule` is that on a GPU, with kernels of its own.
"""

from skrelu._array_module._cupy import CupyArrayModule, is_cupy_array
from skrelu._array_module._generic import GenericArrayModule
from skrelu._array_module._numpy import NumpyArrayModule

__all__ = ["CupyArrayModule", "GenericArrayModule", "NumpyArrayModule", "is_cupy_array"]
