"""What stands behind `curator serve`: who may ask, the processes that answer, and what each kind of request gets."""
