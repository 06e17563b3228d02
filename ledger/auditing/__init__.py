"""What a deployed model carries, found in its weights."""
