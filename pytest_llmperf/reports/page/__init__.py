"""The report to look at: one HTML file that needs no network, made from the results and the facts of a run."""
