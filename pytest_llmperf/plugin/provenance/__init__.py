"""Where the numbers of a run come from: the commit, the host, its driver and the command line."""
