"""Inviting friends: who brought whom, and what it pays."""
