"""Numbers from arrays: overlap, surface distance, landmark error, folds; and the warping that they need."""
