"""Before a run exists: what training would work with."""
