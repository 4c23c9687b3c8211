"""Group-buys: campaigns, teams and seats."""
