"""Array functions at the size of one GPU kernel, one class for each array library.

`ArrayModule` says what each function computes. `GenericArrayModule` needs only the Array API standard and is the
executable reference. `NumpyArrayModule` does the same in place, without allocating. `CupyArrayModule` does that on a
GPU, with kernels of its own. `SparseArrayModule` is NumPy's for an X that is a sparse matrix.
"""

from skrelu._arrays.base import Array, ArrayModule, DType, Scalar
from skrelu._arrays.cupy import CupyArrayModule, is_cupy_array
from skrelu._arrays.generic import GenericArrayModule
from skrelu._arrays.numpy import NumpyArrayModule
from skrelu._arrays.sparse import ShiftedRows, SparseArrayModule, canonical, dense_rows

__all__ = [
    "Array",
    "ArrayModule",
    "CupyArrayModule",
    "DType",
    "GenericArrayModule",
    "NumpyArrayModule",
    "Scalar",
    "ShiftedRows",
    "SparseArrayModule",
    "canonical",
    "dense_rows",
    "is_cupy_array",
]
