"""HTTP/1.1 on both sides of the gateway, without a task or an object per chunk."""
