"""The laboratory: whole training runs, the demo, and the reports on them. Needs the extra `train`."""
