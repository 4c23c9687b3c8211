"""What is fast and may be forgotten: Redis. Losing all of it costs speed, never correctness."""
