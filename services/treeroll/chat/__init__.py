"""Chat: messages as clients send them, and the model's template that makes prompts of them."""
