"""Routes: which model's pool grows a tree."""
