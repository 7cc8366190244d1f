"""Names for the types of numpy arrays in the whole library."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

AnyArray = NDArray[Any]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Integers = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]
UInt32 = NDArray[np.uint32]
UInt64 = NDArray[np.uint64]
