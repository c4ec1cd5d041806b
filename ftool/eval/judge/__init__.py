"""Numbers -> verdicts."""
