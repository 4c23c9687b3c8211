"""A store to try: goods and programmes for an empty store in development, and a member to look at it with."""
