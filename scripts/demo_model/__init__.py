"""How the demo model is made: problems, tokenizer, training, evaluation. Run it with scripts/train_demo_model."""
