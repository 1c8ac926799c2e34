"""Reports as files hold them: what many tests have alike stands once, and what follows from the rest is left out."""
