"""How it is said: the GraphQL schemas of the shop and of its operators, and the HTTP door they stand behind."""
