"""Is it allowed, and how much? The rules of the membership store: pure functions over frozen values."""
