"""What happens: one function for each thing a person can do. The only room that opens transactions."""
