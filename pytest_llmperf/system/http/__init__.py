"""HTTP/1.1, read strictly: what two readers might take for two different messages is refused."""
