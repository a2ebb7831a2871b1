"""What the desk's tests share."""

import numpy as np

SHIFT_MM = np.array([3.0, -5.0, 7.0])  # RAS, fixed to moving
