"""The invariants of the books, proven by SQL over everything there is."""
