"""Money: limits, the ledger that holds them, prices and estimates. Integer micro-dollars everywhere."""
