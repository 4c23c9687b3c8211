"""What is played and shown over HTTP in a store to try."""
