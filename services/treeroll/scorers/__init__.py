"""Scorers turn leaves into rewards. A scorer that fails gives no reward and says why; it never gives 0."""
