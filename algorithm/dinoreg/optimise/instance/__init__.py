"""Adam on the displacement of one pair: how smooth it is, and rounds with features made anew."""
