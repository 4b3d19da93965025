"""The ledger: a row for every request and every attempt, in the application's own database."""
