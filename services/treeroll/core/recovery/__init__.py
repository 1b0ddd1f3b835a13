"""Growing trees again from what is stored of them, after the coordinator that grew them is gone."""
