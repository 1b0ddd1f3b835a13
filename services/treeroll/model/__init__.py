"""What a model directory in Hugging Face layout says of its model."""
