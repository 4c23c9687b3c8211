"""Points: the ledger, check-in, deeds and the mall."""
