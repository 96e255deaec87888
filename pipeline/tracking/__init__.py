"""The only room that knows MLflow: the store of runs and models, and the model that it serves."""
