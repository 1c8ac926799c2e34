"""What people and machines read: table, summary, JSON, JUnit, Markdown."""
