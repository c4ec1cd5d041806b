"""Files -> rows, with the place of each."""
