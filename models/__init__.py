"""A library of one-class models. Knows NumPy, torch and scikit-learn, and nothing of the pipeline."""
