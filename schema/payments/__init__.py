"""Money in and out: payments, refunds, after-sale, reconciliation, and what a person must look at."""
