"""Examples -> token ids."""
