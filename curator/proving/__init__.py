"""What stands behind `curator prove`: the run's documents, training sets, models, what they are asked, and what is said of it."""
