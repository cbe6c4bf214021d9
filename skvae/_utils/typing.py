"""Names for what public signatures take."""

from typing import Any, TypeAlias

import numpy as np

#: (n_samples, n_columns): array-like, frame, sparse matrix, memory map or torch tensor.
#: Which of these, and of what, is checked when it is passed.
Table: TypeAlias = Any
RandomState: TypeAlias = int | np.random.RandomState | None
