"""Carts and orders, from the question what it costs to the last line of the timeline."""
