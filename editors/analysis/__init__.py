"""Looking into a model: where a fact is recalled."""
