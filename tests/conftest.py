"""Set up before scikit-learn or SciPy is imported: without it a quarter of scikit-learn's checks skip in silence."""

import os
import sys

assert "scipy" not in sys.modules, "SCIPY_ARRAY_API has to be set before SciPy is imported"
os.environ["SCIPY_ARRAY_API"] = "1"
