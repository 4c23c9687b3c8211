"""How the database came to be, step by step. Names are never reused; a released step is never edited."""
