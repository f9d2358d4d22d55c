"""The report: one self-contained page that shows a finished run, every number beside the query it came from."""
