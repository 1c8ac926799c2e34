"""The report for people on a web page: a file, or the summary of a GitHub Actions step."""
