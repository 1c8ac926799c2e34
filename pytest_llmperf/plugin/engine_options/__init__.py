"""Which engines a run has, and with what each is started."""
