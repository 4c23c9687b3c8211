"""Growth value, tiers and their benefits."""
