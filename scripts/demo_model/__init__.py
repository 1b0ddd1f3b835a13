"""How the demo models are made: problems, tokenizer, training, evaluation. Run it with scripts/train_demo_model."""
