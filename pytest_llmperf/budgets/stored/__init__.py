"""What a report keeps of a measurement so that limits may be judged later, and how they are judged by it."""
