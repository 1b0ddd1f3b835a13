"""Where trees, ledgers and feeds live. Redis in production, a twin in memory for tests; same contract."""
