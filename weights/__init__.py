"""Files of weights: our own, and those of other projects, none of which can run code."""
