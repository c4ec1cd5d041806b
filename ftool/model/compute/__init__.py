"""Token ids -> losses and states."""
