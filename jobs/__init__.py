"""What the clock does: find what is due, call one resolver for each."""
