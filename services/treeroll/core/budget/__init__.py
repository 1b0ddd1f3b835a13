"""Accounts: which a grant reserves in, who waits for them, and which trees they can finish."""
