"""Members and operators: who they are, how they sign in, what is told about them, and why."""
