"""How good the scores are, measured against labels."""
